import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { freshSchema, type FreshSchema } from '../support/fresh-schema';
import { startWorkloadd } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

let schema: FreshSchema;
beforeAll(async () => (schema = await freshSchema()));
afterAll(() => schema.drop());

async function dropSchema(name: string): Promise<void> {
  const client = new pg.Client(schema.url);
  await client.connect();
  await client.query(`DROP SCHEMA ${name} CASCADE`);
  await client.end();
}

async function run(args: string[], env: NodeJS.ProcessEnv = { DATABASE_URL: schema.url }) {
  const command = startWorkloadd(args, env);
  const { code } = await command.ended;
  return { code, stdout: command.stdout, stderr: command.stderr, all: command.stdout + command.stderr };
}

describe('operator commands', () => {
  test('refuse a secret among the arguments without repeating it', async () => {
    for (const args of [
      ['migrate', '--database-url', 'postgresql://u:topsecret@h/d'],
      ['migrate', '--database-url=postgresql://u:topsecret@h/d'],
      ['worker', '--worker-credential', 'topsecret'],
    ]) {
      const { code, all } = await run(args);
      expect(code).toBe(2);
      expect(all).not.toContain('topsecret');
      expect(all).toMatch(/is not taken from the command line/);
    }
  });

  test('say what is wrong with a database without showing its URL', async () => {
    const unreachable = await run(['migrate'], { DATABASE_URL: 'postgresql://u:topsecret@127.0.0.1:1/d' });
    expect(unreachable.code).toBe(1);
    expect(unreachable.all).not.toContain('topsecret');
    expect(unreachable.stderr.trim().split('\n')).toEqual([expect.stringContaining('cannot be reached')]);
  });

  test('make tokens and credentials that go into a private file, or to stdout only when asked', async () => {
    const folder = temporaryFolder();
    expect((await run(['token', 'list'])).stderr).toContain('run `workloadd migrate`');
    expect(await run(['migrate'])).toMatchObject({ code: 0, stdout: expect.stringContaining('0001_ledger.sql') });
    expect(await run(['migrate'])).toMatchObject({ code: 0, stdout: expect.stringContaining('up to date') });

    const nowhere = await run(['token', 'create', '--name', 'n8n', '--scopes', 'events:write']);
    expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining('--out FILE') });

    const tokenFile = path.join(folder, 'token');
    const created = await run(['token', 'create', '--name', 'n8n', '--scopes', 'events:write', '--out', tokenFile]);
    const token = readFileSync(tokenFile, 'utf8').trim();
    expect(created.code).toBe(0);
    expect(statSync(tokenFile).mode & 0o777).toBe(0o600);
    expect(created.all).not.toContain(token);

    const credentialFile = path.join(folder, 'credential');
    const enrolled = await run(['worker', 'enroll', '--worker-id', 'w1', '--pool', 'p1', '--out', credentialFile]);
    const credential = readFileSync(credentialFile, 'utf8').trim();
    expect(enrolled).toMatchObject({ code: 0 });
    expect(statSync(credentialFile).mode & 0o777).toBe(0o600);
    expect(enrolled.all).not.toContain(credential);

    const listed = (await run(['token', 'list'])).stdout + (await run(['workers', 'list'])).stdout;
    expect(listed).toMatch(/n8n/);
    expect(listed).toMatch(/w1\s+p1\s+active\s+opencrow\s+0\/1/);
    expect(listed).not.toContain(token.slice(-20));
    expect(listed).not.toContain(credential.slice(-20));

    const printed = await run(['token', 'create', '--name', 'x', '--scopes', 'audit:read', '--print']);
    expect(printed.stdout).toMatch(/^owt_[0-9a-f]{16}_[\w-]{43}\n$/);

    const id = token.split('_')[1]!;
    expect(await run(['token', 'revoke', id])).toMatchObject({ code: 0 });
    expect(await run(['token', 'revoke', id])).toMatchObject({ code: 1 });
    expect((await run(['workers', 'clear-suspect', 'nobody', '--reason', 'test'])).code).toBe(1);
  });
});

test('a schema of its own is made by migrate and used by the others', async () => {
  const own = `${schema.name}_own`;
  const args = ['--database-schema', own];
  expect((await run(['workers', 'list', ...args])).stderr).toContain('run `workloadd migrate`');
  expect((await run(['migrate', ...args])).stdout).toContain('0001_ledger.sql');
  expect((await run(['worker', 'enroll', '--worker-id', 'elsewhere', '--print', ...args])).code).toBe(0);
  expect((await run(['workers', 'list', ...args])).stdout).toContain('elsewhere');
  expect((await run(['workers', 'list'])).stdout).not.toContain('elsewhere');
  await dropSchema(own);
});

describe('policy check', () => {
  test('prints the problems and exits 1', async () => {
    const good = await run(['policy', 'check', 'examples/policy.yaml'], {});
    expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining('ok, ') });
    const bad = await run(['policy', 'check', 'package.json'], {});
    expect(bad.code).toBe(1);
    expect(bad.stdout).toMatch(/package\.json:\d+:\d+: /);
    expect((await run(['policy', 'check', '/no/such/file'], {})).code).toBe(1);
  });
});
