import type { IncomingHttpHeaders } from 'node:http';
import type { Secret } from '../contracts/secret';
import { isSigned } from '../domain/webhooks/signature';

const WEBHOOK_ID = /^[\x21-\x7e]{1,255}$/;

/** Whether one of the secrets signed a request within the last 5 minutes, by Standard Webhooks. */
export function isSignedRequest(secrets: readonly Secret[], headers: IncomingHttpHeaders, body: Buffer): boolean {
  const single = (name: string): string => {
    const value = headers[name];
    return typeof value === 'string' ? value : '';
  };
  const presented = {
    'webhook-id': single('webhook-id'),
    'webhook-timestamp': single('webhook-timestamp'),
    'webhook-signature': single('webhook-signature'),
  };
  return isSigned(secrets, presented, body, Date.now() / 1000) && WEBHOOK_ID.test(presented['webhook-id']);
}
