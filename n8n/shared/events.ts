import { jsonOf, RequestError, withoutBlanks } from './api-request';
import type { ApiRequest } from './api-request';

/** The fields of a source event as n8n's parameters give them. */
export interface EventFields {
  source: unknown;
  action: unknown;
  eventId: unknown;
  subject?: unknown;
  occurredAt?: unknown;
  data?: unknown;
  callbackUrl?: unknown;
}

/** A cursor that advances in the transaction that commits the events. */
export interface StateAdvance {
  /** Default: the source of the events. */
  source?: string;
  key: string;
  /** The ETag that was read; blank or null: the state must not exist yet. */
  ifMatch: string | null | undefined;
  value: unknown;
}

/** Events of one batch, at most. */
export const MAX_BATCH_EVENTS = 100;
/** Bytes of one batch, at most: the service takes 256 KiB, and the envelope and the state need room. */
const MAX_BATCH_BYTES = 160 * 1024;

/** The body of `POST /api/events`. Blank fields are left out, numbers become text. */
export function eventOf(fields: EventFields): Record<string, unknown> {
  const data = jsonOf(fields.data ?? {}, 'Data');
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new RequestError('Data is no JSON object');
  return {
    source: requiredText(fields.source, 'Source'),
    action: requiredText(fields.action, 'Action'),
    event_id: requiredText(fields.eventId, 'Event ID'),
    ...withoutBlanks({
      subject: textOf(fields.subject),
      occurred_at: timeOf(fields.occurredAt),
      callback_url: textOf(fields.callbackUrl),
    }),
    data,
  };
}

/** `POST /api/events`; with `waitSeconds` above 0 the answer waits for the decision. */
export function postEvent(event: Record<string, unknown>, waitSeconds = 0): ApiRequest {
  const headers = waitSeconds > 0 ? { headers: { Prefer: `wait=${Math.min(20, Math.floor(waitSeconds))}` } } : {};
  return { method: 'POST', path: '/api/events', body: event, ...headers };
}

/** One `POST /api/events/batch`, and how many of the events it carries. */
export interface BatchRequest {
  request: ApiRequest;
  events: number;
}

/**
 * Splits events into batches that the service takes, in order. Only the last one advances the state: when an earlier one
 * fails nothing moves, and what was committed before is a duplicate the next time.
 */
export function postBatches(events: Record<string, unknown>[], state?: StateAdvance): BatchRequest[] {
  const chunks = chunksOf(events);
  return chunks.map((chunk, index) => {
    const advance = state && index === chunks.length - 1 ? { state: stateOf(state, events) } : {};
    return {
      request: { method: 'POST', path: '/api/events/batch', body: { events: chunk, ...advance } },
      events: chunk.length,
    };
  });
}

/** What the batch answered of one event: `status` is what it would have had alone. */
export interface BatchResult {
  status: number;
  [field: string]: unknown;
}

/** The results of a batch in the order of its events. */
export function batchResults(body: unknown, events: number): BatchResult[] {
  const results = (body as { results?: unknown } | null)?.results;
  if (!Array.isArray(results) || results.length !== events) {
    throw new RequestError('The service answered with another number of results than events');
  }
  return results as BatchResult[];
}

function chunksOf(events: Record<string, unknown>[]): Record<string, unknown>[][] {
  const chunks: Record<string, unknown>[][] = [];
  let bytes = 0;
  for (const event of events) {
    const size = Buffer.byteLength(JSON.stringify(event)) + 1;
    const last = chunks.at(-1);
    if (!last || last.length === MAX_BATCH_EVENTS || bytes + size > MAX_BATCH_BYTES) {
      chunks.push([event]);
      bytes = size;
    } else {
      last.push(event);
      bytes += size;
    }
  }
  return chunks;
}

function stateOf({ source, key, ifMatch, value }: StateAdvance, events: Record<string, unknown>[]): object {
  if (key.trim() === '') throw new RequestError('Advance State needs a key');
  const ofSource = source?.trim() ? source : events[0]?.['source'];
  return { source: ofSource, key, if_match: ifMatch ? ifMatch : null, value: jsonOf(value, 'State Value') };
}

function requiredText(value: unknown, name: string): string {
  const text = textOf(value);
  if (text === undefined || text.trim() === '') throw new RequestError(`${name} is empty`);
  return text;
}

function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  throw new RequestError('A text parameter of the event was given an object');
}

/** RFC 3339 as it came; other readable dates (RFC 822 of feeds, date objects) are converted. */
function timeOf(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value))
    return value;
  const readable = typeof value === 'object' ? new Date(String(value)) : new Date(value as string | number);
  if (Number.isNaN(readable.getTime())) throw new RequestError('Occurred At is no date');
  return readable.toISOString();
}
