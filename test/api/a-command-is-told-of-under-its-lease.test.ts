import { runKeyOf } from '../../contracts/names';
import type { RunSpec } from '../../contracts/run';
import { argvFault } from '../../contracts/run-faults';
import type { ExecutionEnvelope } from '../../contracts/execution';
import { enrolWorker } from '../../ledger/enrol-worker';
import { anEvent, startTestApi, type Answer, type TestApi } from '../support/api-server';
import { exitedWith } from '../support/envelopes';
import { aRun } from '../support/fresh-ledger';

const POLICY = `version: 1
default: { decision: ignore }
rules:
  - id: make
    when: "true"
    decision: dispatch
    to: { pool: default, executor: node }
    run: { command: echo, args: [done] }
`;

let api: TestApi;
let credential: string;
beforeAll(async () => {
  api = await startTestApi({ config: { commandLeaseMs: 20_000 } });
  await api.ask('PUT', '/api/policy', { json: { source: POLICY } });
  const enrolment = { workerId: 'w1', poolId: 'default', maxOpenDeliveries: 100, actor: 'test' };
  credential = (await enrolWorker(api.db, enrolment)).plaintext.reveal();
});
afterAll(() => api.stop());

const post = (path: string, json: object, lease?: string): Promise<Answer> =>
  api.ask('POST', `/api/workers/w1/${path}`, {
    token: credential,
    json,
    headers: lease === undefined ? {} : { 'Lease-Token': lease },
  });

async function begun(eventId: string): Promise<{ id: string; lease: string; run: RunSpec }> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: anEvent(eventId) })).body;
  await api.admit(id);
  const claimed = await post('claims', { work_id: id });
  const { lease_token: lease, run } = JSON.parse(claimed.text) as { lease_token: string; run: RunSpec };
  const intent = await post(`leases/${id}/intent`, { intent_key: 'k'.repeat(32) }, lease);
  expect(JSON.parse(intent.text)).toMatchObject({ delivery_number: 1, ttl_ms: 20_000 });
  return { id, lease, run };
}

test('a command goes from claim to its end, and the record shows its envelope', async () => {
  const { id, lease, run } = await begun('whole');
  expect(run).toEqual(aRun());
  const wakes = api.wakes.length;
  const target = { kind: 'process', ref: 'pid' };
  const renewed = await post(`leases/${id}/renew`, { running: true, target }, lease);
  expect(renewed.status).toBe(200);
  expect(renewed.body).toMatchObject({ state: 'running' });
  expect(renewed.body).not.toHaveProperty('runner_done');
  expect(api.wakes.slice(wakes).map(({ state }) => state)).toEqual(['running']);
  expect((await post(`leases/${id}/renew`, {}, lease)).body.state).toBe('running');
  expect(api.wakes).toHaveLength(wakes + 1);

  await api.db.query('UPDATE deliveries SET runner_done_at = clock_timestamp() WHERE workload_id = $1', [id]);
  expect((await post(`leases/${id}/renew`, {}, lease)).body).toMatchObject({ runner_done: true });
  const over = async () => (await post('deliveries/over', { run_keys: [runKeyOf(id, 1), runKeyOf(id, 2)] })).text;
  expect(await over()).toBe(JSON.stringify({ over: [] }));
  const envelope = exitedWith(0);
  const finished = await post(`leases/${id}/finish`, { envelope }, lease);
  expect([finished.status, finished.body.state]).toEqual([200, 'completed']);
  expect(await over()).toBe(JSON.stringify({ over: [runKeyOf(id, 1)] }));
  const { deliveries, timeline } = (await api.ask('GET', `/api/workloads/${id}`)).body;
  expect(deliveries).toMatchObject([{ execution: envelope, target, status: 'completed', write: 'written' }]);
  expect(timeline.map(({ type }) => type)).toEqual([
    'event.accepted',
    'workload.queued',
    'lease.claimed',
    'workload.delivered',
    'delivery.target_known',
    'workload.running',
    'lease.renewed',
    'workload.completed',
    'lease.completed',
  ]);
});

test('an end may have up to 3 MiB, other requests not', async () => {
  const { id, lease } = await begun('large');
  const large = (size: number): ExecutionEnvelope => {
    const envelope = exitedWith(0);
    envelope.provenance.attestation.notes = ['x'.repeat(size)];
    return envelope;
  };
  const tooLarge = await post(`leases/${id}/finish`, { envelope: large(3_200_000) }, lease);
  expect([tooLarge.status, tooLarge.body.code]).toEqual([413, 'request.too_large']);
  expect(tooLarge.body.detail).toContain('3072 KiB');
  const elsewhere = await post(`leases/${id}/renew`, { target: { kind: 'process', ref: 'x'.repeat(300_000) } }, lease);
  expect(elsewhere.status).toBe(413);
  expect((await post(`leases/${id}/finish`, { envelope: large(1_900_000) }, lease)).body.state).toBe('completed');
});

test('the end of the command that takes the most room can be told', async () => {
  const { id, lease } = await begun('longest');
  const run = aRun({ args: ['\u0001'.repeat(128 * 1024 - 6)] });
  expect(argvFault([run.command, ...run.args])).toBeNull();
  await api.db.query('UPDATE decisions SET run = $2 WHERE workload_id = $1', [id, JSON.stringify(run)]);
  const { body } = await post(`leases/${id}/finish`, { envelope: exitedWith(0, { run }) }, lease);
  expect(body.state).toBe('completed');
});

test('what is no envelope, or another command’s, is refused with the field; without a lease nothing is heard', async () => {
  const { id, lease } = await begun('bad');
  const envelope = exitedWith(0);
  for (const [json, status, code] of [
    [{}, 422, 'request.invalid'],
    [{ envelope: { ...envelope, status: 'fine' } }, 422, 'request.invalid'],
    [{ envelope: { ...envelope, more: 1 } }, 400, 'request.unknown_field'],
    [{ envelope: { ...envelope, result: { ...envelope.result, findings: [1] } } }, 422, 'request.invalid'],
    [{ envelope: exitedWith(0, { run: aRun({ args: ['other'] }) }) }, 422, 'request.invalid'],
  ] as const) {
    const answer = await post(`leases/${id}/finish`, json, lease);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.body.errors[0]!.pointer).toMatch(/^\/envelope/);
  }
  expect((await post(`leases/${id}/finish`, { envelope })).body.code).toBe('lease.token_required');
  expect((await post(`leases/${id}/finish`, { envelope }, 'made-up')).body.code).toBe('lease.stale');
  expect((await post(`leases/${id}/renew`, {}, 'made-up')).body.code).toBe('lease.stale');
  for (const json of [{ run_keys: [] }, { run_keys: Array.from({ length: 501 }, () => 'x') }])
    expect((await post('deliveries/over', json)).body.code).toBe('request.invalid');
});
