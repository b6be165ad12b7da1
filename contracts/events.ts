import { z } from 'zod';
import { externalId } from './ids';
import { webhookUrl } from './webhooks';

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

const MAX_JSON_DEPTH = 64;
const MAX_ARRAY_ITEMS = 10_000;

/** Why a parsed value is not acceptable JSON data, or null. */
function jsonProblem(value: unknown, depth: number): string | null {
  if (depth > MAX_JSON_DEPTH) return `is nested deeper than ${MAX_JSON_DEPTH} levels`;
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return null;
    case 'number':
      return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
        ? null
        : 'holds a number outside the safe range';
    case 'object': {
      if (value === null) return null;
      const items = Array.isArray(value) ? value : Object.values(value);
      if (Array.isArray(value) && value.length > MAX_ARRAY_ITEMS)
        return `holds an array of more than ${MAX_ARRAY_ITEMS} items`;
      for (const item of items) {
        const problem = jsonProblem(item, depth + 1);
        if (problem) return problem;
      }
      return null;
    }
    default:
      return 'is not JSON';
  }
}

/** Any JSON, kept as it came: at most `maxBytes` of it in UTF-8, finite safe numbers, 64 levels, 10,000 items an array. */
export const boundedJson = (maxBytes: number) =>
  z
    .unknown()
    .transform((value, context): JsonValue => {
      const problem =
        value === undefined
          ? 'is missing'
          : (jsonProblem(value, 0) ??
            (new TextEncoder().encode(JSON.stringify(value)).length > maxBytes
              ? `is larger than ${maxBytes / 1024} KiB`
              : null));
      if (problem === null) return value as JsonValue;
      context.addIssue({ code: 'custom', message: problem });
      return z.NEVER;
    })
    .meta({ description: `Any JSON, at most ${maxBytes / 1024} KiB.` });

/**
 * A JSON object, kept as it came (keys such as `__proto__` included): finite safe numbers, at most 64 levels deep,
 * at most 10,000 items an array.
 */
export const eventData = z.unknown().transform((value, context): Record<string, JsonValue> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    context.addIssue({ code: 'custom', message: 'must be a JSON object' });
    return z.NEVER;
  }
  const problem = jsonProblem(value, 0);
  if (problem === null) return value as Record<string, JsonValue>;
  context.addIssue({ code: 'custom', message: problem });
  return z.NEVER;
});

const MAX_ATTRIBUTES = 64;
const MAX_ATTRIBUTE_CHARS = 1024;

/** What keeps one attribute from being taken, or null. */
function attributeProblem(name: string, value: unknown): string | null {
  if (!/^[a-z0-9]{1,64}$/.test(name)) return 'is no name of an attribute: 1 to 64 of a-z and 0-9';
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return null;
  if (typeof value !== 'string') return 'must be a string, a whole number or a boolean';
  if (value.length > MAX_ATTRIBUTE_CHARS) return `is longer than ${MAX_ATTRIBUTE_CHARS} characters`;
  return /[\0\p{Cs}]/u.test(value) ? 'must not hold NUL or lone surrogates' : null;
}

/** At most 64 scalars by name. What CloudEvents calls extension attributes. */
export const eventAttributes = z.unknown().transform((value, context): Record<string, string | number | boolean> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    context.addIssue({ code: 'custom', message: 'must be a JSON object' });
    return z.NEVER;
  }
  const entries = Object.entries(value);
  if (entries.length > MAX_ATTRIBUTES) {
    context.addIssue({ code: 'custom', message: `has more than ${MAX_ATTRIBUTES} attributes` });
  }
  for (const [name, attribute] of entries) {
    const problem = attributeProblem(name, attribute);
    if (problem) context.addIssue({ code: 'custom', message: problem, path: [name] });
  }
  return value as Record<string, string | number | boolean>;
});

/** A source event as posted by a connector. */
export const sourceEvent = z
  .strictObject({
    /** Where it comes from, e.g. `github`, `rss`. With `event_id` and the tenant it is the event's identity. */
    source: externalId,
    /** What happened or is asked for, e.g. `pull_request.opened`, `triage`. */
    action: externalId,
    /** The source's own stable id of the event. */
    event_id: externalId,
    /** What it is about, e.g. `acme/api#12`. */
    subject: externalId.optional(),
    /** When it happened at the source, RFC 3339. */
    occurred_at: z.iso.datetime({ offset: true }).optional(),
    /** Free JSON object; policy reads it as `event.data`. Default `{}`. */
    data: eventData.default({}).meta({
      type: 'object',
      additionalProperties: true,
      description: 'Free JSON object; policy reads it as `event.data`.',
    }),
    /** About the event rather than of it, e.g. `traceparent`; not part of its identity. Policy reads `event.attributes`. */
    attributes: eventAttributes.optional().meta({
      type: 'object',
      maxProperties: MAX_ATTRIBUTES,
      additionalProperties: { type: ['string', 'integer', 'boolean'] },
      description: 'Scalars about the event; policy reads them as `event.attributes`. Not part of its identity.',
    }),
    /**
     * Where the poster wants to be told of the workload's end, e.g. the resume URL of a waiting n8n execution. No part of the
     * event: the same event with another one is a duplicate, and both are told.
     */
    callback_url: webhookUrl.optional(),
  })
  .meta({ id: 'SourceEvent' });
export type PostedEvent = z.infer<typeof sourceEvent>;

/** A source event as it is kept and judged: without the address of who posted it. */
export type SourceEvent = Omit<PostedEvent, 'callback_url'>;
