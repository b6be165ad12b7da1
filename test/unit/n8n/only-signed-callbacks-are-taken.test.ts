import { createHmac } from 'node:crypto';
import { checkSignature, type SignedWebhook } from '../../../n8n/shared/webhook-signature';

const KEY = Buffer.from('a key of more than twenty-four bytes');
const SECRET = `whsec_${KEY.toString('base64')}`;
const NOW = 1_795_000_000;
const BODY = Buffer.from('{"type":"workload.completed"}');

function signed(over: Partial<SignedWebhook> = {}, key = KEY): SignedWebhook {
  const webhook = { id: 'msg_1', timestamp: String(NOW), body: BODY, ...over } as SignedWebhook;
  const mac = createHmac('sha256', key).update(`${webhook.id}.${webhook.timestamp}.`).update(webhook.body);
  return { ...webhook, signature: over.signature ?? `v1,${mac.digest('base64')}` };
}

test('a signature by the secret is valid, also among others', () => {
  expect(checkSignature(signed(), SECRET, NOW)).toBe('valid');
  const rotated = `v1,${Buffer.alloc(32).toString('base64')} ${signed().signature} v2,AAAA`;
  expect(checkSignature(signed({ signature: rotated }), SECRET, NOW)).toBe('valid');
});

test.each<[string, SignedWebhook]>([
  ['another body', { ...signed(), body: Buffer.from('{"type":"workload.failed"}') }],
  ['another id', { ...signed(), id: 'msg_2' }],
  ['another time', { ...signed(), timestamp: String(NOW + 1) }],
  ['another key', signed({}, Buffer.from('not the key, but just as long as that'))],
  ['a cut signature', { ...signed(), signature: signed().signature!.slice(0, 20) }],
  ['another version', { ...signed(), signature: signed().signature!.replace('v1,', 'v0,') }],
])('%s is wrong', (_what, webhook) => expect(checkSignature(webhook, SECRET, NOW)).toBe('wrong'));

test('a missing part is missing, also the secret', () => {
  for (const name of ['id', 'timestamp', 'signature'] as const) {
    expect(checkSignature({ ...signed(), [name]: undefined }, SECRET, NOW)).toBe('missing');
  }
  expect(checkSignature(signed(), 'whsec_', NOW)).toBe('missing');
});

test('an old one is stale, and so is one from the future', () => {
  expect(checkSignature(signed(), SECRET, NOW + 301)).toBe('stale');
  expect(checkSignature(signed(), SECRET, NOW - 301)).toBe('stale');
  expect(checkSignature(signed(), SECRET, NOW + 301, 600)).toBe('valid');
  expect(checkSignature(signed({ timestamp: 'now' }), SECRET, NOW)).toBe('stale');
});
