import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import type { ExecutionEnvelope } from '../../contracts/execution';
import type { WorkloadRecord } from '../../contracts/workload-record';
import { canonical } from '../executors/harness';
import { commandLine } from '../support/command-line';
import { eventually } from '../support/eventually';
import { startWorkloadd, type TestProcess } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';
import { newDataDir, startUpProcess, type RunningUp } from '../support/up';

const POLICY = `version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - id: locked
    when: event.source == "exec" && event.data.sandbox == "locked-down"
    decision: dispatch
    to: { executor: node }
    run: { command: { cel: event.data.command }, sandbox: locked-down }
  - id: any
    when: event.source == "exec" && event.data.backend == "node"
    decision: dispatch
    to: { executor: node }
    run: { command: { cel: event.data.command }, args: { cel: event.data.args } }
`;

const dataDir = newDataDir();
let up: RunningUp;
beforeAll(async () => {
  const policy = path.join(temporaryFolder(), 'policy.yaml');
  writeFileSync(policy, POLICY);
  up = await startUpProcess(dataDir, ['--policy', policy, '--backends', 'node', '--max-open-deliveries', '4']);
}, 120_000);

test('the greeting of up names what commands run on', async () => {
  await up.process.output(/^ {2}Commands +run on node$/m);
});

const recordOf = async (told: string): Promise<WorkloadRecord> => {
  const [id] = /wl_[a-z2-7]{32}/.exec(told)!;
  return (await up.ask('GET', `/api/workloads/${id}`)).body as unknown as WorkloadRecord;
};

test.each<[number, string, string[]]>([
  [0, 'completed', ['--', 'sh', '-c', 'echo out; echo err >&2']],
  [1, 'failed', ['--', 'sh', '-c', 'printf "\\303\\274"; exit 9']],
  [3, 'refused', ['--sandbox', 'locked-down', '--', 'true']],
])('exit code %d, %s, with the same canonical part as the command has here: %j', async (code, status, args) => {
  const [via, here] = await Promise.all([
    commandLine(['exec', '--via', up.apiUrl, '--json', ...args], { WORKLOADD_API_TOKEN: up.token }),
    commandLine(['exec', '--json', ...args]),
  ]);
  expect([via.code, here.code]).toEqual([code, code]);
  const [envelope, local] = [via, here].map(({ stdout }) => JSON.parse(stdout) as ExecutionEnvelope);
  expect(envelope!.status).toBe(status);
  expect(canonical(envelope!)).toBe(canonical(local!));
  expect(via.stdout.trim().split('\n')).toHaveLength(1);
  // Two streams have no order among them, and a line of ours ends one of the command's.
  const lettersOf = (text: string): string[] => [...text.replaceAll(/^exec: .*$/gm, '').replaceAll('\n', '')].sort();
  expect(lettersOf(via.stderr)).toEqual(lettersOf(here.stderr));
  // Why the rule took it is not why it waits.
  expect(via.stderr).not.toContain('waiting for a worker (');
  expect(await recordOf(via.stderr)).toMatchObject({ state: status });
});

/** What a test has to put away, whatever became of it. */
const leftovers: (() => void)[] = [];
afterEach(() => leftovers.splice(0).forEach((putAway) => putAway()));

/** A command that says `ready`, and `done` once its file is there, or a minute is over. */
function waiting(): { argv: string[]; release(): void; pid(): number } {
  const folder = temporaryFolder();
  const [go, pid] = ['go', 'pid'].map((name) => path.join(folder, name)) as [string, string];
  const script =
    'echo $$ > "$2"; echo ready; n=0; until [ -e "$1" ] || [ $n -gt 600 ]; do sleep 0.1; n=$((n + 1)); done; echo done';
  leftovers.push(() => writeFileSync(go, ''));
  return {
    argv: ['--', 'sh', '-c', script, 'sh', go, pid],
    release: () => writeFileSync(go, ''),
    pid: () => Number(readFileSync(pid, 'utf8')),
  };
}

function execVia(url: string, argv: readonly string[], token = up.token): TestProcess {
  return startWorkloadd(['exec', '--via', url, '--json', ...argv], { WORKLOADD_API_TOKEN: token });
}

test('output is shown while the command runs, once, also when the connection is lost', async () => {
  const way = await proxyTo(up.apiUrl);
  const command = waiting();
  const exec = execVia(way.url, command.argv);
  await exec.output(/^ready$/m);
  way.cut();
  command.release();
  expect(await exec.ended).toEqual({ code: 0, signal: null });
  await exec.output(/^done$/m);
  expect(exec.stderr.match(/^(ready|done)$/gm)).toEqual(['ready', 'done']);
});

test('Ctrl-C cancels the workload, whose command ends, and tells of its end', async () => {
  const command = waiting();
  const exec = execVia(up.apiUrl, command.argv);
  await exec.output(/^ready$/m);
  exec.signal('SIGINT');
  expect(await exec.ended).toEqual({ code: 3, signal: null });
  await exec.output(/^\{.*\}$/m);
  expect(JSON.parse(exec.stdout)).toMatchObject({
    status: 'failed',
    evidence: expect.arrayContaining(['exitCode:null']) as unknown,
  });
  expect(await recordOf(exec.stderr)).toMatchObject({ state: 'cancelled', may_still_run: false });
  await eventually(() => !existsSync(`/proc/${command.pid()}`));
});

test('a second Ctrl-C leaves; what the token may not cancel goes on', async () => {
  const create = [
    'token',
    'create',
    '--data-dir',
    dataDir,
    '--name',
    'poster',
    '--scopes',
    'events:write,workloads:read',
  ];
  const token = (await commandLine([...create, '--print'], { DATABASE_URL: '' })).stdout.trim();
  const command = waiting();
  const exec = execVia(up.apiUrl, command.argv, token);
  await exec.output(/^ready$/m);
  exec.signal('SIGINT');
  await exec.output(/cannot be cancelled, and goes on: .*\(auth\.scope_required\)/);
  exec.signal('SIGINT');
  expect(await exec.ended).toEqual({ code: 130, signal: null });
  await exec.output(/left; wl_.* goes on/);
  command.release();
  await eventually(async () => expect(await recordOf(exec.stderr)).toMatchObject({ state: 'completed' }));
});

/** A way to a server that can be cut. */
async function proxyTo(target: string): Promise<{ url: string; cut(): void }> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket
        .on('error', () => undefined)
        .on('close', () => {
          sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => sockets.forEach((socket) => socket.destroy());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  leftovers.push(() => {
    server.close();
    cut();
  });
  return { url, cut };
}
