import { z } from 'zod';
import { eventAttributes, eventData, type SourceEvent } from '../contracts/events';
import { externalId, storableText } from '../contracts/ids';
import { Problem } from '../contracts/problems';
import { problemFromZod } from './problem';
import { parseStrictJson } from './strict-json';

/** A CloudEvent in its JSON format; every other member is an extension attribute. `null` is as good as not there. */
export const cloudEvent = z
  .looseObject({
    specversion: z.literal('1.0', { error: 'must be "1.0"' }),
    /** Becomes `event_id`. */
    id: externalId,
    /** Becomes `source`. */
    source: externalId,
    /** Becomes `action`. */
    type: externalId,
    subject: externalId.nullish(),
    /** Becomes `occurred_at`. */
    time: z.iso.datetime({ offset: true }).nullish(),
    datacontenttype: storableText(256).nullish(),
    dataschema: storableText(1024).nullish(),
    /** An object becomes the event's `data` as it is. */
    data: z.unknown().optional(),
    data_base64: z.base64().nullish(),
  })
  .meta({ id: 'CloudEvent' });
type CloudEvent = z.infer<typeof cloudEvent>;

const KNOWN = new Set(Object.keys(cloudEvent.shape));

/**
 * A CloudEvents 1.0 event as a source event: `type` → `action`, `id` → `event_id`, `time` → `occurred_at`; `source` and
 * `subject` keep their names. An object of JSON becomes `data`, other JSON `{value}`, text `{text}`, everything else
 * `{base64}`. Extension attributes, `dataschema` and a `datacontenttype` that is not JSON become `attributes`.
 * What breaks a rule is a problem whose pointers begin with `base`.
 */
export function fromCloudEvent(value: unknown, base = ''): SourceEvent {
  const event = checked(cloudEvent, value, base);
  const attributes = attributesOf(event, value as object);
  return {
    source: event.source,
    action: event.type,
    event_id: event.id,
    ...(event.subject != null && { subject: event.subject }),
    ...(event.time != null && { occurred_at: event.time }),
    data: checked(eventData, dataOf(event, base), `${base}/data`),
    ...(Object.keys(attributes).length > 0 && { attributes: checked(eventAttributes, attributes, base) }),
  };
}

function checked<T extends z.ZodType>(schema: T, value: unknown, base: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw problemFromZod(parsed.error, base);
}

function attributesOf({ dataschema, datacontenttype }: CloudEvent, value: object): Record<string, unknown> {
  const extensions = Object.entries(value).filter(([name, held]) => !KNOWN.has(name) && held !== null);
  return Object.fromEntries([
    ...extensions,
    ...(dataschema == null ? [] : [['dataschema', dataschema]]),
    ...(datacontenttype == null || isJson(datacontenttype) ? [] : [['datacontenttype', datacontenttype]]),
  ]) as Record<string, unknown>;
}

function dataOf({ data, data_base64: base64, datacontenttype }: CloudEvent, base: string): unknown {
  if (base64 == null) {
    if (data == null) return {};
    return typeof data === 'string' && datacontenttype != null && !isJson(datacontenttype)
      ? { text: data }
      : asObject(data);
  }
  const pointer = `${base}/data_base64`;
  if (data != null) throw invalid(pointer, 'is there beside data');
  try {
    return dataFromBytes(Buffer.from(base64, 'base64'), datacontenttype ?? '');
  } catch (error) {
    throw error instanceof Problem ? invalid(pointer, 'is not what datacontenttype says') : error;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The `data` of an event whose payload came as bytes. Problem `request.malformed` when they are not what their type says. */
export function dataFromBytes(bytes: Buffer, contentType: string): unknown {
  if (bytes.length === 0) return {};
  const json = isJson(contentType);
  if (!json && !isText(contentType)) return { base64: bytes.toString('base64') };
  const text = decoded(bytes);
  return json ? asObject(parseStrictJson(text)) : { text };
}

function decoded(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Problem('request.malformed', 'The data is not valid UTF-8.');
  }
}

const asObject = (value: unknown): unknown =>
  value === null ? {} : typeof value === 'object' && !Array.isArray(value) ? value : { value };

const mediaType = (contentType: string): string => contentType.split(';')[0]!.trim().toLowerCase();
const isJson = (contentType: string): boolean => /^(application|text)\/([^/]+\+)?json$/.test(mediaType(contentType));
const isText = (contentType: string): boolean => /^(text\/.+|application\/([^/]+\+)?xml)$/.test(mediaType(contentType));

const invalid = (pointer: string, detail: string): Problem =>
  new Problem('request.invalid', 'The request breaks a rule.', { errors: [{ pointer, detail }] });
