import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { sourceEvent, type PostedEvent, type SourceEvent } from '../contracts/events';
import { Problem } from '../contracts/problems';
import { decodeUtf8, mediaTypeOf } from './body';
import { dataFromBytes, fromCloudEvent } from './cloud-events';
import { problemFromZod } from './problem';
import { parseStrictJson } from './strict-json';

export const CLOUD_EVENT = 'application/cloudevents+json';
export const CLOUD_EVENT_BATCH = 'application/cloudevents-batch+json';

/** Most events of one request. */
export const MAX_BATCH = 100;

/** The events of one request. A batch may be empty and is taken as a whole; otherwise it is one event. */
export interface EventRequest {
  isBatch: boolean;
  events: PostedEvent[];
}

/**
 * Reads what a connector posted: an event as our JSON, or as CloudEvents 1.0 in structured, batch or binary mode (its `ce-`
 * headers beside a body of any type). `source`, if it is given, takes the place of what is sent. Throws problems that name
 * what is wrong, also for a single event of a batch.
 */
export function readEvents(
  request: Pick<IncomingMessage, 'headers' | 'headersDistinct'>,
  bytes: Buffer,
  source?: string,
): EventRequest {
  const type = request.headers['content-type'] ?? '';
  const isCloudEvents = /^\s*application\/cloudevents/i.test(type);
  if (!isCloudEvents && attributeHeaders(request).length > 0) {
    return one(fromBinaryMode(request, bytes, type, source));
  }
  const mode = mediaTypeOf(type, ['application/json', CLOUD_EVENT, CLOUD_EVENT_BATCH]);
  const value = parseStrictJson(decodeUtf8(bytes));
  if (mode === CLOUD_EVENT) return one(fromCloudEvent(withSource(value, source)));
  if (mode === CLOUD_EVENT_BATCH) {
    const items = parsed(z.array(z.unknown()).max(MAX_BATCH), value);
    return { isBatch: true, events: items.map((item, at) => fromCloudEvent(withSource(item, source), `/${at}`)) };
  }
  return one(parsed(sourceEvent, withSource(value, source)));
}

const one = (event: PostedEvent): EventRequest => ({ isBatch: false, events: [event] });

const withSource = (value: unknown, source: string | undefined): unknown =>
  source === undefined || typeof value !== 'object' || value === null || Array.isArray(value)
    ? value
    : { ...value, source };

function parsed<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw problemFromZod(result.error);
}

/** The attributes a request has as `ce-` headers, by name. */
const attributeHeaders = ({ headersDistinct }: Pick<IncomingMessage, 'headersDistinct'>): [string, string[]][] =>
  Object.entries(headersDistinct).flatMap(([name, values]): [string, string[]][] =>
    name.startsWith('ce-') && values ? [[name.slice('ce-'.length), values]] : [],
  );

/** Attributes that binary mode has elsewhere, so that they cannot be headers. */
const NO_HEADERS = ['data', 'data_base64', 'datacontenttype'];

function fromBinaryMode(
  request: Pick<IncomingMessage, 'headersDistinct'>,
  bytes: Buffer,
  contentType: string,
  source: string | undefined,
): SourceEvent {
  const attributes = attributeHeaders(request).map(([name, values]) => {
    if (NO_HEADERS.includes(name)) throw badHeader(name, 'cannot be a header in binary mode');
    if (values.length > 1) throw badHeader(name, 'is there twice');
    return [name, headerText(name, values[0]!)] as const;
  });
  const data = dataFromBytes(bytes, contentType);
  const event = withSource(
    { ...Object.fromEntries(attributes), ...(contentType !== '' && { datacontenttype: contentType }), data },
    source,
  );
  try {
    return fromCloudEvent(event);
  } catch (error) {
    throw error instanceof Problem ? aboutHeaders(error) : error;
  }
}

/** The text of an attribute's header: unquoted, then percent-decoded once, as the HTTP binding has it. */
function headerText(name: string, value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value);
  const text = quoted ? quoted[1]!.replace(/\\(.)/g, '$1') : value;
  if (/[^\x20-\x7e]/.test(text)) throw badHeader(name, 'must be percent-encoded where it is not ASCII');
  try {
    return decodeURIComponent(text);
  } catch {
    throw badHeader(name, 'is not percent-encoded UTF-8');
  }
}

const badHeader = (name: string, detail: string): Problem =>
  new Problem('request.invalid', 'The request breaks a rule.', {
    errors: [{ pointer: `/headers/ce-${name}`, detail }],
  });

const aboutHeaders = ({ code, message, errors = [] }: Problem): Problem =>
  new Problem(code, message, {
    errors: errors.map(({ pointer, detail }) => ({
      pointer: pointer.startsWith('/data') && pointer !== '/dataschema' ? pointer : `/headers/ce-${pointer.slice(1)}`,
      detail,
    })),
  });
