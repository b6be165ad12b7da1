import { createHmac, timingSafeEqual } from 'node:crypto';

/** A signed request as it came. */
export interface SignedWebhook {
  id: string | undefined;
  /** Seconds since 1970, as text. */
  timestamp: string | undefined;
  /** One or more `v1,<base64>`, parted by spaces. */
  signature: string | undefined;
  /** The exact bytes that were signed. */
  body: Uint8Array;
}

/** What came of the check of a signature. */
export type SignatureVerdict = 'valid' | 'missing' | 'stale' | 'wrong';

/** Checks a signature by Standard Webhooks. `secret` is `whsec_<base64>`, `nowSeconds` and the tolerance are seconds. */
export function checkSignature(
  webhook: SignedWebhook,
  secret: string,
  nowSeconds: number,
  toleranceSeconds = 300,
): SignatureVerdict {
  const { id, timestamp, signature, body } = webhook;
  if (!id || !timestamp || !signature) return 'missing';
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  if (key.length === 0) return 'missing';
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  const matches = signature
    .split(' ')
    .filter((each) => each.startsWith('v1,'))
    .map((each) => Buffer.from(each.slice(3), 'base64'))
    .some((given) => given.length === expected.length && timingSafeEqual(given, expected));
  if (!matches) return 'wrong';
  const age = Math.abs(nowSeconds - Number(timestamp));
  return /^\d+$/.test(timestamp) && age <= toleranceSeconds ? 'valid' : 'stale';
}
