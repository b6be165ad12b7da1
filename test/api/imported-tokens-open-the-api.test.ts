import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { runTokenImport } from '../../cli/commands/token';
import type { ConfigOf } from '../../cli/config';
import { Secret } from '../../contracts/secret';
import { importToken, listTokens, revokeToken } from '../../ledger/tokens';
import { startTestApi, type TestApi } from '../support/api-server';
import { temporaryFolder } from '../support/temporary-folder';

let api: TestApi;
beforeAll(async () => (api = await startTestApi()));
afterAll(() => api.stop());

const newSecret = (): string => randomBytes(24).toString('hex');
const statusOf = async (token: string): Promise<number> => (await api.ask('GET', '/api/whoami', { token })).status;
const n8n = { tenantId: 'default', name: 'n8n', scopes: ['events:write'] as const };

test('a token that was made elsewhere works with its scopes, and its hash is all that is kept', async () => {
  const secret = newSecret();
  expect(await statusOf(secret)).toBe(401);
  const { tokenId, inForce } = await importToken(api.db, n8n, secret);
  expect(inForce).toBe(true);
  const { status, body } = await api.ask('GET', '/api/whoami', { token: secret });
  expect({ status, body }).toMatchObject({ status: 200, body: { tenant_id: 'default', scopes: ['events:write'] } });
  expect((await api.ask('GET', '/api/policy', { token: secret })).status).toBe(403);
  const rows = await api.db.query('SELECT * FROM tokens WHERE token_id = $1', [tokenId]);
  expect(JSON.stringify(rows)).not.toContain(secret);
});

test('importing again changes nothing; another file takes the old token out of force', async () => {
  const [first, second] = [newSecret(), newSecret()];
  const token = { ...n8n, name: 'rotated' };
  await importToken(api.db, token, first);
  const before = await api.db.query('SELECT count(*)::int FROM audit');
  await importToken(api.db, token, first);
  expect(await api.db.query('SELECT count(*)::int FROM audit')).toEqual(before);
  await importToken(api.db, token, second);
  expect([await statusOf(first), await statusOf(second)]).toEqual([401, 200]);
  expect((await importToken(api.db, token, first)).inForce).toBe(false);
  expect(await statusOf(second)).toBe(200);
});

test('scopes follow the import; a revoked token stays revoked; no tenant takes the token of another', async () => {
  const secret = newSecret();
  const token = { ...n8n, name: 'scoped' };
  const { tokenId } = await importToken(api.db, token, secret);
  await importToken(api.db, { ...token, scopes: ['workloads:read'] }, secret);
  expect((await listTokens(api.db)).find((each) => each.token_id === tokenId)?.scopes).toEqual(['workloads:read']);
  expect((await importToken(api.db, { ...token, tenantId: 'other' }, secret)).inForce).toBe(false);
  await revokeToken(api.db, tokenId);
  expect((await importToken(api.db, token, secret)).inForce).toBe(false);
  expect(await statusOf(secret)).toBe(401);
});

test('a token that was made here is in force for its own tenant only', async () => {
  const file = path.join(temporaryFolder(), 'token');
  writeFileSync(file, api.token, { mode: 0o600 });
  const log = jest.spyOn(console, 'log').mockImplementation(() => undefined);
  const config = { databaseUrl: () => new Secret(api.databaseUrl) } as ConfigOf<'token import'>;
  const args = { name: 'n8n', scopes: 'events:write', file };
  try {
    await runTokenImport(config, { ...args, tenant: 'default' });
    await expect(runTokenImport(config, { ...args, tenant: 'other' })).rejects.toThrow('not of tenant other');
  } finally {
    log.mockRestore();
  }
});

test.each(['short', 'owc_0123456789abcdef_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', `${'x'.repeat(31)}`])(
  'no bearer like %s is ever a token',
  async (bearer) => expect(await statusOf(bearer)).toBe(401),
);
