import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ExecutionEnvelope } from '../../contracts/execution';
import type { WorkloadState } from '../../contracts/terminology';
import { Cluster, type Posted } from '../support/cluster';
import { eventually } from '../support/eventually';
import { startWorkloadd } from '../support/processes';

const rule = (action: string, run: string, rest = ''): string =>
  `{ id: ${action}, when: 'event.action == "${action}"', decision: dispatch, to: { pool: crows, executor: node }, run: ${run}${rest} }`;
const sh = (script: string, more = ''): string => `{ command: sh, args: ['-c', ${JSON.stringify(script)}]${more} }`;

const RULES = [
  rule('greet', `{ command: printf, args: ['%s\\n', { cel: event.data.name }, 'a b'] }`),
  rule('three', sh('echo three; exit 3')),
  rule('nothing-there', `{ command: no-such-program-anywhere }`),
  rule('slow', sh('sleep 60 & echo $! > slow.pid; wait', ', timeout: 1s')),
  rule('no-profile', `{ command: 'true', sandbox: nobody-has-this }`),
  rule('outside', `{ command: 'true', cwd: gone }`),
  rule(
    'ask',
    sh('printf "%s" "$WORKLOAD_CAPABILITY_TOKEN" > token; printf "%s %s" "$WORKLOAD_ID" "$WORKLOAD_CAPABILITIES"'),
    `, capabilities: [{ hook: rss, operations: [show], resources: ['"x"'] }]`,
  ),
  rule('long', sh('sleep 300 & echo "$$ $!" > long.pid; trap "" TERM; wait; wait')),
  rule('on-ci', `{ command: 'true', endpoint: 'https://ci.example.com/jobs' }`, `, deadlines: { queued: 2s }`).replace(
    'executor: node',
    'executor: ci',
  ),
];

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.prepare({ rules: RULES, backends: 'node', maxOpenDeliveries: 4 });
  await cluster.start('api', 'control', 'worker');
});
afterAll(() => cluster.close());

async function ended(
  action: string,
  state: WorkloadState,
  data = {},
): Promise<{ id: string; envelope: ExecutionEnvelope }> {
  const posted = await cluster.post({ ends: [state], deliveries: 1 }, { action, data });
  await cluster.state(posted, state);
  return { id: posted.id, envelope: await envelopeOf(posted.id) };
}

async function envelopeOf(id: string): Promise<ExecutionEnvelope> {
  const [row] = await cluster.db.query<{ execution: string }>(
    'SELECT execution FROM deliveries WHERE workload_id = $1 AND number = 1',
    [id],
  );
  return JSON.parse(row!.execution) as ExecutionEnvelope;
}

const historyEnd = async (posted: { id: string }): Promise<string> =>
  eventually(async () => {
    const text = await cluster.history(posted);
    return text.includes('WORKFLOW_EXECUTION_COMPLETED') ? text : null;
  });

const isThere = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    // A killed process that nobody has waited for yet is no more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

test('a command with values of its event runs, and leaves the evidence that `exec` leaves', async () => {
  const { id, envelope } = await ended('greet', 'completed', { name: 'Ada; $(rm -rf /)' });
  const alone = startWorkloadd(['exec', '--json', '--', 'printf', '%s\\n', 'Ada; $(rm -rf /)', 'a b']);
  await alone.ended;
  const { provenance: _, ...expected } = JSON.parse(alone.stdout) as ExecutionEnvelope;
  const { provenance, ...canonical } = envelope;
  expect(JSON.stringify(canonical)).toBe(JSON.stringify(expected));
  expect(provenance.backendId).toBe('node');

  const history = await historyEnd({ id });
  expect(history).not.toMatch(/Ada|printf|stdoutSha256/);
  expect(history.match(/EVENT_TYPE_ACTIVITY_TASK_SCHEDULED/g)).toHaveLength(1);
});

test('ends are told apart: another exit code, no such program, a timeout, a profile that nobody has', async () => {
  const [three, none, slow, profile, outside] = await Promise.all([
    ended('three', 'failed'),
    ended('nothing-there', 'failed'),
    ended('slow', 'failed'),
    ended('no-profile', 'refused'),
    ended('outside', 'refused'),
  ]);
  expect(three.envelope.evidence[1]).toBe('exitCode:3');
  expect(none.envelope.evidence[1]).toBe('exitCode:null');
  expect(slow.envelope.result.summary).toContain('timed out after 1000 ms');
  expect(profile.envelope.evidence).toEqual([
    'refused:sandbox-profile-not-found',
    'backend:node',
    'sandbox:nobody-has-this',
  ]);
  expect(outside.envelope.evidence[0]).toBe('refused:cwd-outside-workspace');
  const pid = Number(readFileSync(path.join(cluster.workspace, 'slow.pid'), 'utf8'));
  await eventually(() => !isThere(pid));
});

test('the capability token is in the environment of its command and nowhere else', async () => {
  const { id, envelope } = await ended('ask', 'completed');
  const token = readFileSync(path.join(cluster.workspace, 'token'), 'utf8');
  expect(token).toMatch(/^owc_/);
  expect(JSON.stringify(envelope)).not.toContain(token);
  expect(await historyEnd({ id })).not.toContain(token);
  expect(cluster.process('worker').stderr + cluster.process('worker').stdout).not.toContain(token);
});

test('work for a backend that nobody offers is refused at its queue deadline', async () => {
  const posted = await cluster.post({ ends: ['refused'], deliveries: 0 }, { action: 'on-ci' });
  await cluster.state(posted, 'refused');
  expect((await cluster.record(posted)).reason).toBe('queue_deadline');
  await historyEnd(posted);
});

/** Starts the command that ends only when it is killed; its own pid and that of its child. */
async function startLong(): Promise<{ posted: Posted; pids: number[] }> {
  const file = path.join(cluster.workspace, 'long.pid');
  mkdirSync(cluster.workspace, { recursive: true });
  writeFileSync(file, '');
  const posted = await cluster.post({ ends: ['cancelled', 'lost'], deliveries: 1 }, { action: 'long' });
  await cluster.state(posted, 'running');
  const pids = await eventually(() => {
    const found = readFileSync(file, 'utf8').trim().split(' ').map(Number);
    return found.length === 2 && found;
  });
  return { posted, pids };
}

test('a cancelled command is ended with all it started, and its workflow closes after that', async () => {
  const { posted, pids } = await startLong();
  const { status } = await cluster.ask('POST', `/api/workloads/${posted.id}/cancel`, { reason: 'test' });
  expect(status).toBe(200);
  const history = await historyEnd(posted);
  expect(history).toMatch(/EVENT_TYPE_ACTIVITY_TASK_(CANCELED|COMPLETED)/);
  expect(pids.filter(isThere)).toEqual([]);
  expect((await cluster.record(posted)).state).toBe('cancelled');
  expect((await envelopeOf(posted.id)).evidence[1]).toBe('exitCode:null');
});

test('a worker that is told to stop gives its command the grace, then ends it and says so', async () => {
  const { posted, pids } = await startLong();
  const { code } = await cluster.terminate('worker');
  expect(code).toBe(0);
  await eventually(() => pids.filter(isThere).length === 0);
  await cluster.state(posted, 'lost');
  expect((await cluster.record(posted)).reason).toBe('worker_stopped');
});

test('a worker that has neither an OpenCrow nor a backend, or half of an OpenCrow, says what it lacks', async () => {
  const credential = path.join(cluster.folder, 'credential');
  const startBare = async (...args: string[]): Promise<string> => {
    const worker = startWorkloadd(['worker', '--worker-id', 'bare', '--worker-credential-file', credential, ...args]);
    expect((await worker.ended).code).toBe(2);
    return worker.stderr;
  };
  expect(await startBare()).toContain('this worker would do nothing');
  expect(await startBare('--trigger-pipe', '/x', '--backends', 'node')).toContain('--lifecycle-socket is required');
  expect(await startBare('--backends', 'node,docker')).toContain('must list node, container, remote and ci');
});
