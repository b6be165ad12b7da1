import fc from 'fast-check';
import { redacted } from '../../domain/redact';

const SECRET = 's3cr3tVALUE-99';

test.each([
  `token: ${SECRET}`,
  `Token=${SECRET};`,
  `{"api_key":"${SECRET}"}`,
  `{"api_key": "${SECRET} with \\"quotes\\" and spaces ${SECRET}", "a": 1}`,
  `{\\"apiKey\\":\\"${SECRET}\\"}`,
  `{'password': '${SECRET}'}`,
  `password => ${SECRET}`,
  `DB_PASSWORD=${SECRET} PGHOST=x`,
  `x-api-key: ${SECRET}`,
  `Authorization: Bearer ${SECRET}`,
  `authorization: Basic ${SECRET}=`,
  `client_secret=${SECRET}&grant_type=x`,
  `cannot reach postgres://user:${SECRET}@db:5432/x`,
  `cannot reach https://${SECRET}@example.com/x`,
  `amqp://user:p@${SECRET}@host/`,
  `GET https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIA/x&X-Amz-Signature=${SECRET}&x=1 403`,
  `GET https://a.blob.core.windows.net/c?sv=2020&sig=${SECRET}`,
  `https://storage.googleapis.com/b/o?X-Goog-Signature=${SECRET}`,
  `https://api.example.com/v1?key=${SECRET}`,
  `https://api.example.com/v1?access_token=${SECRET}#x`,
  `Set-Cookie: sid=${SECRET}`,
  `-----BEGIN RSA PRIVATE KEY-----\n${SECRET}\n-----END RSA PRIVATE KEY-----`,
])('%s', (text) => {
  expect(redacted(text, 1024)).not.toContain(SECRET);
});

test.each([
  'oww_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  'olt_3_abcdefghijklmnopqrstuvwxyz',
  'sk-short-key-1',
  'ghp_abcdefghijklmnop',
  'AKIAIOSFODNN7EXAMPLE',
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc',
  '0f8fad5bd9cb469fa16570867728950e0f8fad5bd9cb469fa16570867728950e',
])('%s by itself', (secret) => {
  expect(redacted(`it failed with ${secret} at line 3`, 1024)).toBe('it failed with [redacted] at line 3');
});

test('what is no secret stays, and what is long is cut', () => {
  const plain = 'ENXIO: no reader on /run/opencrow/trigger.pipe (attempt 3 of 5), see https://example.com/a?page=2#key';
  expect(redacted(plain, 1024)).toBe(plain);
  expect(redacted('a b '.repeat(100), 20)).toHaveLength(20);
});

test('it takes any text in little time, and never more than the bound', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 1024, unit: fc.constantFrom('a', '.', '-', '"', '\\', ':', '=', 'token', '@', ' ', '/') }),
      (text) => {
        expect(redacted(text, 1024).length).toBeLessThanOrEqual(1024);
      },
    ),
    { numRuns: 200 },
  );
});
