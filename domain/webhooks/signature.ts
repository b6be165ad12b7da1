import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../../contracts/secret';

/** How far the clock of a sender may be off, seconds. */
const TOLERANCE_SECONDS = 5 * 60;

/** Signatures looked at in one header, at most. */
const MAX_SIGNATURES = 20;

/** The headers of Standard Webhooks. */
export interface WebhookHeaders {
  'webhook-id': string;
  /** Seconds since 1970. */
  'webhook-timestamp': string;
  'webhook-signature': string;
}

/** Signs a body by each secret; a receiver that knows one of them takes it. */
export function signedHeaders(
  secrets: readonly Secret[],
  id: string,
  seconds: number,
  body: string | Uint8Array,
): WebhookHeaders {
  const timestamp = String(Math.floor(seconds));
  const signatures = secrets.map((secret) => `v1,${signature(secret, id, timestamp, body).toString('base64')}`);
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}

/** Whether one of the secrets signed this body within the tolerance. Takes the same time whichever part is wrong. */
export function isSigned(
  secrets: readonly Secret[],
  headers: Partial<WebhookHeaders>,
  body: Uint8Array,
  nowSeconds: number,
): boolean {
  const { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': given = '' } = headers;
  const presented = given
    .split(' ')
    .slice(0, MAX_SIGNATURES)
    .filter((part) => part.startsWith('v1,'))
    .map((part) => Buffer.from(part.slice(3), 'base64'));
  const valid = secrets.map((secret) => {
    const expected = signature(secret, id, timestamp, body);
    return presented.filter((each) => each.length === expected.length && timingSafeEqual(each, expected)).length > 0;
  });
  const fresh = /^\d{1,12}$/.test(timestamp) && Math.abs(nowSeconds - Number(timestamp)) <= TOLERANCE_SECONDS;
  return valid.some(Boolean) && fresh && id !== '';
}

function signature(secret: Secret, id: string, timestamp: string, body: string | Uint8Array): Buffer {
  const key = Buffer.from(secret.reveal().replace(/^whsec_/, ''), 'base64');
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
}
