import { prune } from '../../ledger/sweeps';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { policyText, when } from '../support/policy';

const RULE = `decision: dispatch, to: { executor: node }, run: { command: make, args: ['-C', { cel: event.data.folder }] }`;
const RUN = {
  ...{ command: 'make', args: ['-C', 'a b'], cwd: '.', sandbox: 'default', timeout: null, image: null, digest: null },
  ...{ endpoint: null, job_id: null, env: null, rerunnable: false, completion: 'poll' },
};

let api: TestApi;
beforeAll(async () => (api = await startTestApi()));
afterAll(() => api.stop());
beforeEach(() => put(RULE));

async function put(rest: string): Promise<void> {
  const source = policyText(when('build', 'event.source == "rss"', rest));
  expect((await api.ask('PUT', '/api/policy', { json: { source } })).status).toBe(200);
}

let events = 0;
const event = (data: Record<string, unknown> = { folder: 'a b' }) => anEvent(`run-${events++}`, { data });

async function decided(data?: Record<string, unknown>): Promise<string> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: event(data) })).body;
  await api.admit(id);
  return id;
}

const answer = async (path: string) => (await api.ask('GET', path)).body;
const explain = async (id: string): Promise<unknown> => answer(`/api/workloads/${id}/explain`);
const decisionOf = async (id: string) => (await answer(`/api/workloads/${id}`)).decision;

test('a dry run, the record, the explanation and the auditors’ view show the command that the event makes of the rule', async () => {
  const dry = await api.ask('POST', '/api/policy/evaluate', { json: { event: event() } });
  expect(dry.body).toMatchObject({ decision: 'dispatch', run: RUN });
  const id = await decided();
  expect(await answer(`/api/workloads/${id}`)).toMatchObject({
    state: 'queued',
    executor: 'node',
    decision: { decision: 'dispatch', run: RUN },
  });
  expect(await explain(id)).toMatchObject({
    recomputed: true,
    run: RUN,
    rule: { run: { args: ['-C', { cel: 'event.data.folder' }] } },
    summary: expect.arrayContaining(['Its command is ["make","-C","a b"], under the sandbox profile default.']),
  });
  const [row] = await api.db.query<{ run: string }>('SELECT run FROM audit_decisions WHERE workload_id = $1', [id]);
  expect(JSON.parse(row!.run)).toEqual(RUN);
});

test('an admission that is run again keeps the command, whatever the policy says by then', async () => {
  const id = await decided();
  await put(RULE.replace('make', 'other'));
  await api.admit(id);
  expect((await decisionOf(id)).run).toEqual(RUN);
});

test('what is told of a command is what was recorded, not what would be made of it today', async () => {
  const id = await decided();
  const recorded = { ...RUN, args: ['-C', 'of then'] };
  await api.db.query('UPDATE decisions SET run = $2 WHERE workload_id = $1', [id, JSON.stringify(recorded)]);
  expect(await explain(id)).toMatchObject({ not_recomputed_because: 'recomputation_differs', run: recorded });
});

test('a command that cannot be filled in is denied, and a replay after the repair is another decision', async () => {
  const id = await decided({});
  expect(await decisionOf(id)).toMatchObject({
    decision: 'deny',
    reason: 'run_error',
    run: null,
    trace: [{ rule_id: 'build', outcome: 'matched', error: 'run.args.1:no_such_key' }],
  });
  await put(RULE.replace('event.data.folder', '\'event.data.?folder.orValue("all")\''));
  const replay = await api.ask('POST', `/api/workloads/${id}/replay`, { json: { reason: 'put right' } });
  await api.admit(replay.body.workload_id);
  expect((await decisionOf(replay.body.workload_id)).run).toEqual({ ...RUN, args: ['-C', 'all'] });
});

test('the time machine counts a command by what it comes to, not by how it is written', async () => {
  const id = await decided();
  const diff = async (rest: string) => {
    const candidate = policyText(when('build', 'event.source == "rss"', rest));
    const { body } = await api.ask('POST', '/api/policy/diff', { json: { candidate, last: 1 } });
    return body;
  };
  expect(await diff(RULE.replace('event.data.folder', '\'"a " + "b"\''))).toMatchObject({ judged: 1, changed: 0 });
  expect(await diff(RULE.replace('make', 'other'))).toMatchObject({
    changed: 1,
    by_kind: { run: 1 },
    changes: [
      {
        workload_id: id,
        changed: ['run'],
        from: { terms: { run: RUN } },
        to: { terms: { run: { command: 'other' } } },
      },
    ],
  });
});

test('the command goes when the event’s body goes', async () => {
  const id = await decided();
  await api.ask('POST', `/api/workloads/${id}/cancel`, { json: { reason: 'over' } });
  await api.db.query("UPDATE workloads SET ended_at = ended_at - interval '2 days' WHERE workload_id = $1", [id]);
  await prune(api.db, { bodyDays: 1, noiseDays: 365 });
  expect((await decisionOf(id)).run).toBeNull();
  expect(await explain(id)).toMatchObject({
    not_recomputed_because: 'body_pruned',
    run: null,
  });
});
