import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { runExec, type ExecArguments } from '../../cli/commands/exec';
import { runExecVia } from '../../cli/commands/exec-via';
import { loadConfig } from '../../cli/config';
import { Service, ServiceAway } from '../../cli/via/service';
import { z } from 'zod';
import { startTestApi, type TestApi } from '../support/api-server';
import { commandLine, type CommandEnd } from '../support/command-line';

const POLICY = `version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - { id: no, when: 'event.data.command == "denied"', decision: deny, reason: not here }
  - id: ask
    when: event.data.command == "held"
    decision: hold
    to: { executor: node }
    run: { command: { cel: event.data.command } }
  - id: once
    when: event.data.command == "once"
    decision: dispatch
    dedupe: { key: '"once"', window: 1h }
    to: { executor: node }
    run: { command: { cel: event.data.command } }
  - { id: slow, when: event.data.command == "slow", decision: dispatch, to: { executor: node }, run: { command: slow } }
`;

let api: TestApi;
/** Decides what was posted, as the control worker would. */
let deciding: Promise<void>;
let stopped = false;
beforeAll(async () => {
  api = await startTestApi();
  const put = await api.ask('PUT', '/api/policy', { json: { source: POLICY } });
  expect(put.status).toBe(200);
  deciding = (async () => {
    while (!stopped) {
      const rows = await api.db.query<{ workload_id: string }>(
        "SELECT workload_id FROM workloads WHERE state = 'accepted'",
      );
      for (const { workload_id } of rows) await api.admit(workload_id);
      await sleep(25);
    }
  })();
});
afterAll(async () => {
  stopped = true;
  await deciding;
  await api.stop();
});

const execVia = (command: string, options: string[] = [], token = api.token): Promise<CommandEnd> =>
  commandLine(['exec', '--via', api.url, ...options, '--json', '--', command], { WORKLOADD_API_TOKEN: token });

/** Which JSON object is printed when there is no envelope. */
const refusedFor = (why: string, workloadId: unknown = expect.stringMatching(/^wl_/)): object => ({
  status: 'refused',
  reason: expect.stringContaining(why) as string,
  workload_id: workloadId,
});

test('what policy does not dispatch ends with 3 and one JSON object that says why', async () => {
  const posted = await api.ask('POST', '/api/events', {
    json: { source: 'exec', action: 'run', event_id: 'holder', data: { command: 'once' } },
    headers: { prefer: 'wait=20' },
  });
  const holder = posted.body.workload_id;
  const whys = {
    cmd: 'no rule dispatches it (no-rule)',
    denied: 'is denied by rule no (not here)',
    held: '/approve',
    once: `duplicate: ${holder} has its dedupe key`,
  };
  const ends = await Promise.all(Object.keys(whys).map((command) => execVia(command)));
  for (const [index, why] of Object.values(whys).entries()) {
    const { code, stdout, stderr } = ends[index]!;
    expect([code, JSON.parse(stdout)]).toEqual([3, refusedFor(why)]);
    expect(stderr).toContain(why);
  }
});

test('what no worker takes within the caller’s time is cancelled and never runs', async () => {
  const { code, stdout, stderr } = await execVia('slow', ['--timeout-ms', '300']);
  expect([code, JSON.parse(stdout)]).toEqual([3, refusedFor('was cancelled (cancelled_before_intent)')]);
  expect(stderr).toContain('rule slow says dispatch to node in pool default');
  expect(stderr).toContain('the caller’s time is over');
});

test('a token without the scope, or of nobody, has nothing run', async () => {
  const reader = await api.newToken(['workloads:read']);
  for (const [token, code] of [
    [reader, 'auth.scope_required'],
    [`owt_${'0'.repeat(16)}_${'A'.repeat(43)}`, 'auth.required'],
  ] as const) {
    const end = await execVia('cmd', [], token);
    expect([end.code, JSON.parse(end.stdout)]).toEqual([3, refusedFor(`(${code}). Nothing was run`, null)]);
  }
});

test.each<[string, Partial<ExecArguments>, string[], string]>([
  ['an address that is none', { via: 'nowhere' }, ['true'], '--via must be a URL'],
  ['no command', {}, [], 'give a command'],
  ['a password in an endpoint', { backend: 'remote', endpoint: 'http://u:p@runner/' }, ['true'], 'no password'],
  ['an endpoint for a backend that has none', { endpoint: 'http://runner/' }, ['true'], '--endpoint'],
  ['a negative timeout', { timeoutMs: '-1' }, ['true'], 'timeout'],
  ['NUL in an argument', {}, ['echo', '\0'], 'NUL'],
])('%s is wrong use, and nothing is posted', async (_, args, argv, why) => {
  const config = loadConfig('exec', { flags: {}, env: { WORKLOADD_API_TOKEN: api.token } });
  const run = runExecVia(config, { backend: 'node', via: 'http://127.0.0.1:9', ...args }, argv);
  await expect(run).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining(why) as string });
});

test('without a token, and here with a folder of the service, too', async () => {
  const config = loadConfig('exec', { flags: {}, env: {} });
  const via = runExecVia(config, { backend: 'node', via: api.url }, ['true']);
  await expect(via).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining('API token') as string });
  const here = runExec(config, { backend: 'node', cwd: 'x' }, ['true']);
  await expect(here).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining('--via') as string });
});

test('a service that is away is asked again for a while, then given up', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const told: string[] = [];
  const service = new Service(`http://127.0.0.1:${port}`, () => 'token', {
    tell: (line) => void told.push(line),
    patienceMs: 300,
    retryMs: 50,
  });
  const asked = service.ask({ method: 'GET', path: '/', answer: z.unknown() });
  await expect(asked).rejects.toBeInstanceOf(ServiceAway);
  expect(told).toHaveLength(1);
});
