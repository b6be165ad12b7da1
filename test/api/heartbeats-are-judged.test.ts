import type { CompatibilityPolicy } from '../../contracts/compatibility';
import type { WorkerState } from '../../contracts/terminology';
import { enrolWorker } from '../../ledger/enrol-worker';
import { orderWorker } from '../../ledger/worker-orders';
import type { WorkerMove } from '../../domain/worker-moves';
import { startTestApi, type Answer, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => (api = await startTestApi()));
afterAll(() => api.stop());

interface Worker {
  id: string;
  credential: string;
}
let count = 0;
/** An active worker in a pool of its own. */
async function aWorker(workerId = `w-${(count += 1)}`): Promise<Worker> {
  const { plaintext } = await enrolWorker(api.db, { workerId, poolId: `pool-${workerId}`, actor: 'test' });
  return { id: workerId, credential: plaintext.reveal() };
}

const beat = (worker: Worker, json: unknown = {}, as = worker): Promise<Answer> =>
  api.ask('POST', `/api/workers/${worker.id}/heartbeat`, { token: as.credential, json });

const standing = (answer: Answer): Record<string, unknown> =>
  (JSON.parse(answer.text) as { worker: Record<string, unknown> }).worker;

async function row(worker: Worker): Promise<Record<string, unknown>> {
  const [found] = await api.db.query<Record<string, unknown>>('SELECT * FROM workers WHERE worker_id = $1', [
    worker.id,
  ]);
  return found!;
}

const setPool = (worker: Worker, fields: { compatibility?: CompatibilityPolicy; auto_activate?: boolean }) =>
  api.db.query(
    `UPDATE pools SET compatibility = coalesce($2::jsonb, compatibility), auto_activate = coalesce($3, auto_activate)
     WHERE pool_id = $1`,
    [
      `pool-${worker.id}`,
      fields.compatibility ? JSON.stringify(fields.compatibility) : null,
      fields.auto_activate ?? null,
    ],
  );

const order = (worker: Worker, move: WorkerMove) =>
  api.db.transaction((tx) => orderWorker(tx, worker.id, move, { actor: 'test' }));

const audited = async (worker: Worker, type: string): Promise<Record<string, unknown>[]> =>
  (
    await api.db.query<{ detail: Record<string, unknown> }>(
      `SELECT detail FROM audit WHERE type = $1 AND detail ->> 'worker_id' = $2
         AND detail ->> 'reason' IS DISTINCT FROM 'enrolled' ORDER BY seq`,
      [type, worker.id],
    )
  ).map(({ detail }) => detail);

const FULL = {
  version: '1.2.3',
  runtime_version: '20.19.0',
  protocol_version: 1,
  capabilities: { flags: ['gpu'], profiles: ['build'], providers: ['openai'], rack: { name: 'r1' } },
  checkpoint_schemas: [1, 2],
  event_contracts: [1],
  region: 'eu-1',
  current_load: 2,
  active_work_ids: ['a', 'b'],
  last_error_code: 'ENXIO',
  last_error_summary: 'cannot reach postgres://user:hunter2@db/x with token: abcdef',
  sequence: 7,
  executors: ['node'],
};

test('all that a heartbeat tells is kept, without secrets, and what a later one leaves out stays as declared', async () => {
  const worker = await aWorker();
  const answer = await beat(worker, FULL);
  expect(standing(answer)).toEqual({
    worker_id: worker.id,
    pool_id: `pool-${worker.id}`,
    status: 'active',
    max_open_deliveries: 1,
    duty: 'work',
    open_work: 0,
    heartbeat_every_ms: 15_000,
  });
  const { last_error_summary: summary, sequence, ...declared } = FULL;
  const kept = await row(worker);
  expect(kept).toMatchObject(declared);
  expect(kept.heartbeat_sequence).toBe(String(sequence));
  expect(kept.last_error_summary).toBe('cannot reach postgres://[redacted]@db/x with token: [redacted]');
  expect(summary).toContain('hunter2');
  expect((await beat(worker)).status).toBe(200);
  const { version, runtime_version, protocol_version, capabilities, checkpoint_schemas, event_contracts, region } =
    FULL;
  const terms = {
    version,
    runtime_version,
    protocol_version,
    capabilities,
    checkpoint_schemas,
    event_contracts,
    region,
  };
  expect(await row(worker)).toMatchObject({
    ...terms,
    current_load: 0,
    active_work_ids: [],
    last_error_code: null,
    last_error_summary: null,
    heartbeat_sequence: '7',
  });
});

test.each([
  ['/current_load', { current_load: -1 }],
  ['/current_load', { current_load: 1.5 }],
  ['/active_work_ids', { active_work_ids: Array.from({ length: 501 }, (_, index) => `w${index}`) }],
  ['/active_work_ids', { active_work_ids: ['a', 'a'] }],
  ['/active_work_ids/0', { active_work_ids: ['a\0'] }],
  ['/capabilities', { capabilities: { notes: 'x'.repeat(16_384) } }],
  ['/capabilities', { capabilities: { notes: { deep: ['a\0'] } } }],
  ['/capabilities/flags', { capabilities: { flags: 'gpu' } }],
  ['/capabilities', { capabilities: [] }],
  ['/checkpoint_schemas', { checkpoint_schemas: [1, 1] }],
  ['/event_contracts/0', { event_contracts: [-1] }],
  ['/protocol_version', { protocol_version: '1' }],
  ['/sequence', { sequence: -1 }],
  ['/last_error_summary', { last_error_summary: 'x'.repeat(1025) }],
  ['/region', { region: '' }],
])('%s is refused by name: %#', async (pointer, body) => {
  const worker = await aWorker();
  const answer = await beat(worker, body);
  expect([answer.status, answer.body.code]).toEqual([422, 'request.invalid']);
  expect(answer.body.errors.map((item) => item.pointer)).toContain(pointer);
  expect((await row(worker)).last_heartbeat_at).toBeNull();
});

test("500 ids are taken; another worker's heartbeat and what is not known here are not", async () => {
  const worker = await aWorker();
  const other = await aWorker();
  const ids = Array.from({ length: 500 }, (_, index) => `w${index}`);
  expect((await beat(worker, { active_work_ids: ids })).status).toBe(200);
  const foreign = await beat(worker, {}, other);
  expect([foreign.status, foreign.body.code]).toEqual([403, 'auth.scope_required']);
  const unknown = await beat(worker, { status: 'active' });
  expect([unknown.status, unknown.body.code]).toEqual([400, 'request.unknown_field']);
});

test('a sequence that goes back changes nothing and is told once a minute; another credential counts anew', async () => {
  const worker = await aWorker();
  expect((await beat(worker, { sequence: 5, current_load: 1 })).status).toBe(200);
  expect((await beat(worker, { sequence: 5, current_load: 1 })).status).toBe(200);
  await api.db.query('UPDATE workers SET suspect_since = clock_timestamp() WHERE worker_id = $1', [worker.id]);
  const before = await row(worker);
  for (let times = 0; times < 3; times += 1) {
    const told = { sequence: 4, current_load: 9, version: '9', executor_restarted: true };
    const back = await beat(worker, told);
    expect([back.status, back.body.code]).toEqual([409, 'heartbeat.out_of_order']);
    expect(back.body).toMatchObject({ last: 5 });
  }
  const after = await row(worker);
  expect({ ...after, rejections_noted: null }).toEqual({ ...before, rejections_noted: null });
  expect(await audited(worker, 'worker.heartbeat_rejected')).toEqual([
    { worker_id: worker.id, pool_id: `pool-${worker.id}`, code: 'heartbeat.out_of_order' },
  ]);
  const rotated = await aWorker(worker.id);
  expect((await beat(rotated, { sequence: 0 })).status).toBe(200);
});

test.each<[WorkerState, string]>([
  ['pending', 'wait'],
  ['active', 'work'],
  ['draining', 'drain'],
  ['paused', 'pause'],
])('a worker that is %s is told: %s', async (status, duty) => {
  const worker = await aWorker();
  await setPool(worker, { auto_activate: false });
  await api.db.query('UPDATE workers SET status = $2 WHERE worker_id = $1', [worker.id, status]);
  expect(standing(await beat(worker))).toMatchObject({ status, duty });
});

test('the first heartbeat makes a pending worker active where its pool says so, and only in a pool that is', async () => {
  const worker = await aWorker();
  await api.db.query("UPDATE workers SET status = 'pending' WHERE worker_id = $1", [worker.id]);
  await api.db.query("UPDATE pools SET status = 'paused' WHERE pool_id = $1", [`pool-${worker.id}`]);
  expect(standing(await beat(worker))).toMatchObject({ status: 'pending', duty: 'wait' });
  await api.db.query("UPDATE pools SET status = 'active' WHERE pool_id = $1", [`pool-${worker.id}`]);
  expect(standing(await beat(worker))).toMatchObject({ status: 'active', duty: 'work' });
  expect(await audited(worker, 'worker.active')).toEqual([
    {
      worker_id: worker.id,
      pool_id: `pool-${worker.id}`,
      status: 'active',
      previous: 'pending',
      reason: 'auto_activate',
    },
  ]);
});

test('a revoked worker, and an expired credential, are let in no more', async () => {
  const worker = await aWorker();
  await order(worker, 'revoke');
  expect((await beat(worker)).body.code).toBe('auth.required');
  const late = await aWorker();
  await api.db.query('UPDATE worker_credentials SET expires_at = clock_timestamp() WHERE worker_id = $1', [late.id]);
  expect((await beat(late)).body.code).toBe('auth.required');
});

test('one that does not fit a pool that rejects those is refused by name, is not heard of, and what it declared is kept', async () => {
  const worker = await aWorker();
  await setPool(worker, { compatibility: { min_protocol: 2, flags: ['gpu'] } });
  for (let times = 0; times < 2; times += 1) {
    const answer = await beat(worker, { protocol_version: 1, capabilities: { flags: ['gpu'] } });
    expect([answer.status, answer.body.code]).toEqual([409, 'worker.version_incompatible']);
    expect(answer.body.errors).toEqual([{ pointer: '/protocol_version', detail: 'is 1 and must be at least 2' }]);
    expect(answer.body.detail).toContain('protocol_version is 1 and must be at least 2');
  }
  expect(await row(worker)).toMatchObject({ status: 'active', last_heartbeat_at: null, protocol_version: 1 });
  expect(await audited(worker, 'worker.heartbeat_rejected')).toEqual([
    {
      worker_id: worker.id,
      pool_id: `pool-${worker.id}`,
      code: 'worker.version_incompatible',
      fields: ['/protocol_version'],
    },
  ]);
  expect(standing(await beat(worker, { protocol_version: 2 }))).toMatchObject({ status: 'active', duty: 'work' });
  expect((await row(worker)).last_heartbeat_at).not.toBeNull();
});

test.each([
  ['pause', 'paused', 'pause'],
  ['drain', 'draining', 'drain'],
] as const)(
  'where the pool says %s, one that does not fit is %s, until somebody makes it active',
  async (how, status, duty) => {
    const worker = await aWorker();
    await setPool(worker, { compatibility: { min_version: '2.0.0', on_incompatible: how } });
    for (let times = 0; times < 2; times += 1) {
      expect(standing(await beat(worker, { version: '1.9.0' }))).toMatchObject({ status, duty });
    }
    expect(standing(await beat(worker, { version: '2.0.0' }))).toMatchObject({ status });
    const told = await audited(worker, `worker.${status}`);
    expect(told).toMatchObject([{ previous: 'active', reason: 'incompatible' }]);
    await order(worker, 'activate');
    expect(standing(await beat(worker, { version: '2.0.0' }))).toMatchObject({ status: 'active', duty: 'work' });
  },
);

test('one that does not fit is not made active, and flags of its pool count as its own', async () => {
  const worker = await aWorker();
  await setPool(worker, { compatibility: { flags: ['gpu'], on_incompatible: 'pause' } });
  await api.db.query("UPDATE workers SET status = 'pending' WHERE worker_id = $1", [worker.id]);
  expect(standing(await beat(worker))).toMatchObject({ status: 'pending', duty: 'wait' });
  await api.db.query(`UPDATE pools SET capabilities = '{"flags": ["gpu"]}' WHERE pool_id = $1`, [`pool-${worker.id}`]);
  expect(standing(await beat(worker))).toMatchObject({ status: 'active', duty: 'work' });
});
