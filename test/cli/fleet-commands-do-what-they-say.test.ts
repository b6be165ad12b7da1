import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { runPoolCreate, runPoolState, runPoolUpdate } from '../../cli/commands/pools';
import { runWorkerRegister, runWorkerRotate } from '../../cli/commands/worker-credentials';
import { runPoolDrain, runWorkerDrain } from '../../cli/commands/worker-drain';
import { runWorkerOrder } from '../../cli/commands/worker-orders';
import { loadConfig } from '../../cli/config';
import { authenticateWorker } from '../../ledger/workers';
import { here } from '../support/command-here';
import { commandLine } from '../support/command-line';
import { FreshLedger } from '../support/fresh-ledger';
import { startWorkloadd } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

let ledger: FreshLedger;
let env: { DATABASE_URL: string };
beforeAll(async () => {
  ledger = await FreshLedger.open();
  env = { DATABASE_URL: ledger.schema.url };
});
afterAll(() => ledger.close());

const config = (pool = 'default') => loadConfig('workers register', { flags: { pool }, env });
const principalOf = (file: string) => authenticateWorker(ledger.db, readFileSync(file, 'utf8').trim());

test('a pool is made, a worker registered in it, and its credential replaced', async () => {
  const folder = temporaryFolder();
  const [first, second] = [path.join(folder, 'first'), path.join(folder, 'second')];
  const made = await here(() =>
    runPoolCreate(config(), 'eu', { region: 'eu-1', tenants: 'default', mode: 'self_hosted', json: true }),
  );
  expect(made).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(made.stdout)).toMatchObject({ pool: { pool_id: 'eu', region: 'eu-1', tenants: ['default'] } });
  await here(() => runPoolUpdate(config(), 'eu', { region: false, allTenants: true, maxWorkers: '1' }));
  expect(await ledger.db.query("SELECT region, tenants, max_workers FROM pools WHERE pool_id = 'eu'")).toEqual([
    { region: null, tenants: null, max_workers: 1 },
  ]);

  const register = (out?: string) => here(() => runWorkerRegister(config('eu'), 'host-1', { ...(out && { out }) }));
  expect((await register()).code).toBe(2);
  expect((await register('/nowhere/credential')).stderr).toContain('nothing was made');
  const registered = await register(first);
  expect(registered).toMatchObject({ code: 0, stdout: expect.stringContaining('`workloadd workers activate host-1`') });
  expect(statSync(first).mode & 0o777).toBe(0o600);
  expect(registered.stdout).not.toContain(readFileSync(first, 'utf8').trim());
  expect(await principalOf(first)).toMatchObject({ workerId: 'host-1', status: 'pending' });

  type Rotation = Partial<Parameters<typeof runWorkerRotate>[2]>;
  const rotate = (args: Rotation) => here(() => runWorkerRotate(config(), 'host-1', { overlap: '10m', ...args }));
  const rotated = await rotate({ overlap: '0s', print: true, json: true });
  const { plaintext, replaces } = JSON.parse(rotated.stdout) as { plaintext: string; replaces: object };
  expect(replaces).toMatchObject({ worker_id: 'host-1' });
  expect(await principalOf(first)).toBeNull();
  expect((await authenticateWorker(ledger.db, plaintext))!.workerId).toBe('host-1');
  expect((await rotate({ out: second })).stdout).toMatch(/credential \w+ is good until 20/);
  const both = await rotate({ print: true });
  expect(both).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('name one by --credential') });
  const named = await rotate({ print: true, credential: (await principalOf(second))!.credentialId });
  expect(named).toMatchObject({ code: 0, stdout: expect.stringMatching(/^oww_\S+\n$/) });
  expect((await here(() => runWorkerOrder(config(), 'host-1', 'revoke', {}))).code).toBe(0);
  expect(await rotate({ print: true })).toMatchObject({ code: 1, stderr: expect.stringContaining('is final') });
});

test('what is refused says why, by its exit code too', async () => {
  await ledger.enrol({ pool: 'taken' });
  const refused: [() => Promise<void>, number, string | RegExp][] = [
    [
      () => runPoolCreate(config(), 'taken', { mode: 'self_hosted' }),
      1,
      'There is a pool with this id. (/pool_id is taken)',
    ],
    [() => runPoolCreate(config(), 'theirs', { mode: 'hybrid' }), 2, /^error: mode: hybrid pools are refused: /],
    [() => runPoolCreate(config(), 'Theirs', { mode: 'self_hosted' }), 2, /^error: pool id: must be lower case/],
    [
      () => runPoolUpdate(config(), 'taken', { maxWorkers: 'many' }),
      2,
      '--max-workers must be a whole number; 0 is any number',
    ],
    [() => runPoolUpdate(config(), 'taken', { capabilities: '/nowhere' }), 2, '--capabilities cannot be read (ENOENT)'],
    [() => runPoolUpdate(config(), 'taken', {}), 2, 'say what to change: see --help'],
    [
      () => runPoolState(config(), 'nowhere', 'paused', {}),
      1,
      'there is no pool "nowhere": see `workloadd pools list`',
    ],
    [
      () => runWorkerOrder(config(), 'nobody', 'revoke', { reason: ' ' }),
      2,
      '--reason must be 1 to 1,000 characters, not blank',
    ],
  ];
  for (const [command, code, text] of refused) {
    const stderr: unknown = typeof text === 'string' ? `error: ${text}\n` : expect.stringMatching(text);
    expect(await here(command)).toEqual({ code, stdout: '', stderr });
  }
  const [pause, list] = await Promise.all([
    commandLine(['workers', 'pause', 'nobody', '--reason', 'x'], env),
    commandLine(['workers', 'list', '--watch', '10ms'], env),
  ]);
  expect(pause).toEqual({
    code: 1,
    stdout: '',
    stderr: 'error: there is no worker "nobody": see `workloadd workers list`\n',
  });
  expect(list).toEqual({
    code: 2,
    stdout: '',
    stderr: 'error: --watch must be a duration from 1s to 1h, for example 5s\n',
  });
});

test('watching prints a round after the other, shows what changed, and ends with 0 on Ctrl-C', async () => {
  const { workerId, poolId } = await ledger.enrol();
  const list = ['workers', 'list', '--pool', poolId, '--watch', '1s'];
  const [asJson, asText] = [startWorkloadd([...list, '--json'], env), startWorkloadd(list, env)];
  await asJson.output(/"status":"active".*\n/);
  await asText.output(/^20\S+Z\nWORKER .*\n.* active .*\n\n/m);
  await ledger.db.query("UPDATE workers SET status = 'paused' WHERE worker_id = $1", [workerId]);
  await asJson.output(/\n.*"status":"paused".*\n/);
  await asText.output(/ paused /);
  asJson.signal('SIGINT');
  asText.signal('SIGTERM');
  expect([await asJson.ended, await asText.ended].map(({ code }) => code)).toEqual([0, 0]);
  for (const line of asJson.stdout.trim().split('\n')) {
    expect(JSON.parse(line)).toMatchObject({ workers: [{ worker_id: workerId }] });
  }
  expect(asText.stdout + asText.stderr).not.toContain('\u001b');
});

test('drain waits until nothing is held, then retires; else it fails, and the order stands', async () => {
  const { principal, workId } = await ledger.delivered();
  const late = await here(() =>
    runWorkerDrain(config(), principal.workerId, { retire: true, timeout: '0s', json: true }),
  );
  expect(late).toMatchObject({ code: 1, stdout: '' });
  expect(late.stderr).toContain(`1 unit still held: ${workId} after 0s; the order stands`);
  const waiting = startWorkloadd(
    ['workers', 'drain', principal.workerId, '--retire', '--reason', 'gone', '--json'],
    env,
  );
  await waiting.output(/1 unit still held/);
  await ledger.report(principal, workId, 'running');
  await ledger.report(principal, workId, 'completed');
  expect((await waiting.ended).code).toBe(0);
  expect(JSON.parse(waiting.stdout)).toMatchObject({ worker: { status: 'retired' }, previous: 'draining', held: [] });
  const whole = await here(() => runPoolDrain(config(), principal.poolId, { wait: true, timeout: '1s' }));
  expect(whole).toMatchObject({ code: 0, stdout: expect.stringContaining('has no worker that takes work') });
});
