import { createHash } from 'node:crypto';
import type { JsonValue, SourceEvent } from '../contracts/events';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** The workload id of an event: 160 bits over the length-prefixed (tenant, source, event_id), so it needs no look-up. */
export function workloadIdFor(tenantId: string, source: string, eventId: string): string {
  const hash = createHash('sha256');
  for (const part of [tenantId, source, eventId]) {
    const bytes = Buffer.from(part, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  }
  return `wl_${base32(hash.digest().subarray(0, 20))}`;
}

/**
 * SHA-256 over what the event says, as key-sorted JSON: the same fact in another key order or spacing has the same hash. What
 * is only about the event (`attributes`) may differ from one sending to the next.
 */
export function bodyHash({ source, action, event_id, subject, occurred_at, data }: SourceEvent): Buffer {
  const said = { source, action, event_id, subject, occurred_at, data };
  return createHash('sha256')
    .update(canonicalJson(said as unknown as JsonValue))
    .digest();
}

/** JSON with object keys sorted by code unit, no spaces; lone surrogates and NUL stay escaped. */
export function canonicalJson(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.keys(value)
      .sort()
      .filter((key) => value[key] !== undefined)
      .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key]!)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
}

/** A short stable key for Temporal's fairness, without the tenant's name in it. */
export const fairnessKey = (tenantId: string): string =>
  createHash('sha256').update(tenantId).digest('hex').slice(0, 16);

function base32(bytes: Buffer): string {
  let bits = 0n;
  for (const byte of bytes) bits = (bits << 8n) | BigInt(byte);
  let text = '';
  for (let index = (bytes.length * 8) / 5; index > 0; index -= 1) {
    text = BASE32[Number(bits & 31n)]! + text;
    bits >>= 5n;
  }
  return text;
}
