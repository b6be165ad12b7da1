import { createHash } from 'node:crypto';
import { parseDeliveryId } from '../../contracts/names';
import { lifecycleEvent, type LifecycleRecord } from '../../contracts/lifecycle';
import { LIFECYCLE_STATUSES, type LifecycleStatus } from '../../contracts/terminology';
import { readJsonHead, type JsonHead } from './json-head';

/** Longest error text kept, in UTF-16 code units. */
const MAX_ERROR_LENGTH = 2_000;

/** Why a datagram cannot be read as a lifecycle event. */
type Unreadable =
  | 'not_utf8'
  | 'not_json'
  | 'not_an_object'
  | 'wrong_version'
  | 'wrong_type'
  | 'unknown_status'
  | 'missing_field'
  | 'field_too_long';

/**
 * Reads one datagram of OpenCrow. Unknown fields are passed over; a datagram that was cut off is read as far as it goes
 * and marked `truncated`; anything that is no `workload.lifecycle` of version 1 becomes an unreadable record. Never throws.
 */
export function parseLifecycleDatagram(datagram: Buffer): LifecycleRecord {
  const text = decodeUtf8(datagram);
  if (text === null) return unreadable(datagram, 'not_utf8');
  const head = readJsonHead(text);
  if (head === null) return unreadable(datagram, 'not_json');
  const event = eventFrom(head);
  return typeof event === 'string' ? unreadable(datagram, event) : event;
}

/**
 * What must stay in order: all records of one workload, redeliveries included. Records of no workload of ours share
 * nothing, but keep their order too.
 */
export function orderKeyOf(record: LifecycleRecord): string {
  if ('unreadable' in record) return 'unreadable';
  return parseDeliveryId(record.delivery_id)?.workloadId ?? `unknown:${record.delivery_id}`;
}

function eventFrom({ fields, truncated }: JsonHead): LifecycleRecord | Unreadable {
  if (fields === null) return 'not_an_object';
  if (fields['version'] !== 1) return 'wrong_version';
  if (fields['type'] !== 'workload.lifecycle') return 'wrong_type';
  const [eventId, deliveryId, status, occurredAt] = ['event_id', 'workload_id', 'status', 'occurred_at'].map((name) =>
    cleanText(fields[name]),
  );
  if (!eventId || !deliveryId || !status || !occurredAt) return 'missing_field';
  if (!isStatus(status)) return 'unknown_status';
  const details = isObject(fields['details']) ? fields['details'] : {};
  const candidate = withoutUndefined({
    event_id: eventId,
    delivery_id: deliveryId,
    status,
    occurred_at: occurredAt,
    source_event_id: cut(cleanText(fields['source_event_id']), 1024),
    source: cut(cleanText(fields['source']), 1024),
    action: cut(cleanText(fields['action']), 1024),
    opencrow_instance: cut(cleanText(fields['opencrow_instance']), 256),
    inbox_id: count(fields['inbox_id']),
    attempt: count(fields['attempt']),
    reply_suppressed: typeof details['reply_suppressed'] === 'boolean' ? details['reply_suppressed'] : undefined,
    error: cut(cleanText(details['error']), MAX_ERROR_LENGTH),
    error_kind: cut(cleanText(details['error_kind']), 64),
    truncated: truncated ? true : undefined,
  });
  // Only the four identifying fields can still break a bound: cutting those would make another identity.
  const event = lifecycleEvent.safeParse(candidate);
  return event.success ? event.data : 'field_too_long';
}

function unreadable(datagram: Buffer, why: Unreadable): LifecycleRecord {
  const sha256 = createHash('sha256').update(datagram).digest('hex');
  return { unreadable: true, sha256, bytes: datagram.length, why };
}

/** Null for bytes that are no UTF-8; a character cut off at the end is left away, as datagrams are cut anywhere. */
function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true });
  } catch {
    return null;
  }
}

/** A string without what a database column refuses (NUL, lone surrogates); undefined for anything else. */
function cleanText(value: unknown): string | undefined {
  return typeof value === 'string' ? value.replace(/[\0\p{Cs}]/gu, '\uFFFD') : undefined;
}

function cut(text: string | undefined, length: number): string | undefined {
  if (text === undefined || text.length <= length) return text;
  return text.slice(0, length).replace(/\p{Cs}$/u, '');
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function isStatus(value: string): value is LifecycleStatus {
  return (LIFECYCLE_STATUSES as readonly string[]).includes(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withoutUndefined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
