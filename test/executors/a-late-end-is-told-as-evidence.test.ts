import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Problem } from '../../contracts/problems';
import type { Secret } from '../../contracts/secret';
import { ControlPlaneUnavailable } from '../../executors/control-plane-client';
import { settle } from '../../ledger/settlement';
import { enrolWorker } from '../../ledger/enrol-worker';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { workOn, type Working } from '../support/command-worker';
import { eventually } from '../support/eventually';

let api: TestApi;
let credential: Secret;
beforeAll(async () => {
  api = await startTestApi({ config: { commandLeaseMs: 1_500 } });
  const rule = (action: string, more: string): string => `
  - id: ${action}
    when: event.action == "${action}"
    decision: dispatch
    to: { pool: default, executor: node }
    run: { command: sh, args: ['-c', { cel: event.data.script }]${more} }`;
  const source = `version: 1
default: { decision: ignore }
rules:${rule('once', '')}${rule('again', ', rerunnable: true')}
`;
  await api.ask('PUT', '/api/policy', { json: { source } });
  const worker = { workerId: 'w1', poolId: 'default', maxOpenDeliveries: 20, actor: 'test' };
  credential = (await enrolWorker(api.db, worker)).plaintext;
});
afterAll(() => api.stop());

async function queued(action: string, script: string): Promise<string> {
  const json = { ...anEvent(`${action}-${Math.random()}`), action, data: { script } };
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json })).body;
  await api.admit(id);
  return id;
}

/** Ends when the test says so. */
const WAITS = 'while [ ! -e go ]; do sleep 0.02; done; ';
const go = ({ workspace }: Working): void => writeFileSync(path.join(workspace, 'go'), '');

const record = async (id: string) => (await api.ask('GET', `/api/workloads/${id}`)).body;
const start = async (id: string): Promise<Working> => {
  const working = workOn(api, { workerId: 'w1', credential, workId: id, kind: 'node' });
  await eventually(async () => expect((await record(id)).state).toBe('running'));
  return working;
};

/** A worker that cannot reach the api. */
interface Away {
  /** What the ledger has made of the workload. */
  state: string | undefined;
  /** It has tried to report the end. */
  hasEnded: () => Promise<void>;
  back: () => void;
}

/** Cuts a worker off from the api until its lease is over. */
async function outlast(id: string, { control }: Working): Promise<Away> {
  const away = () => Promise.reject(new ControlPlaneUnavailable('test', null));
  const finish = jest.spyOn(control, 'finish').mockImplementation(away);
  const renew = jest.spyOn(control, 'renew').mockImplementation(away);
  // The one before is answered by then.
  await eventually(() => expect(renew).toHaveBeenCalled());
  await expire(id);
  const view = await settle(api.db, id, 1_000);
  const hasEnded = () => eventually(() => expect(finish).toHaveBeenCalled());
  const back = (): void => {
    renew.mockRestore();
    finish.mockRestore();
  };
  return { state: view?.state, hasEnded, back };
}
const expire = (id: string) =>
  api.db.query("UPDATE leases SET expires_at = clock_timestamp() - interval '1 second' WHERE work_id = $1", [id]);

/** The worker's end of the run is refused, and what it then told. */
async function told(id: string): Promise<{ refused: string[]; evidence: { status: string; effect: string }[] }> {
  const refused = await api.db.query<{ write: string }>(
    "SELECT detail ->> 'write' AS write FROM audit WHERE workload_id = $1 AND type = 'lease.stale_write_rejected'",
    [id],
  );
  const evidence = await api.db.query<{ status: string; effect: string }>(
    'SELECT status, effect FROM lifecycle_events WHERE workload_id = $1',
    [id],
  );
  return { refused: refused.map(({ write }) => write), evidence };
}

test.each([
  ['exit 0', 'completed'],
  ['exit 3', 'failed'],
  ['kill -9 $$', 'failed'],
] as const)('a command that ended by `%s` after its lease corrects `lost` to %s', async (script, state) => {
  const id = await queued('once', WAITS + script);
  const working = await start(id);
  const away = await outlast(id, working);
  expect(away.state).toBe('lost');
  go(working);
  await away.hasEnded();
  away.back();
  expect(await working.outcome).toMatchObject({ outcome: 'maybe_run' });
  expect(await record(id)).toMatchObject({ state, reason: 'late_correction' });
  const { refused, evidence } = await told(id);
  expect(refused).toContain('finish');
  expect(evidence).toEqual([{ status: state, effect: 'corrected' }]);
});

test('the late end of a command that runs again by now is a double execution, and changes nothing', async () => {
  const id = await queued('again', WAITS);
  const first = await start(id);
  const away = await outlast(id, first);
  expect(away.state).toBe('queued');
  const second = await start(id);
  go(first);
  await away.hasEnded();
  away.back();
  await first.outcome;
  expect(await told(id)).toMatchObject({ evidence: [{ status: 'completed', effect: 'double_execution' }] });
  expect(await record(id)).toMatchObject({ state: 'running', double_execution: true });
  go(second);
  expect(await second.outcome).toMatchObject({ outcome: 'finished', state: 'completed' });
});

test('a command that the end of its lease cut off stays lost', async () => {
  const id = await queued('once', WAITS);
  const { outcome } = await start(id);
  await eventually(async () => {
    await expire(id);
    expect(await settle(api.db, id, 1_000)).toMatchObject({ state: 'lost' });
  });
  await outcome;
  expect(await record(id)).toMatchObject({ state: 'lost', reason: 'lease_expired' });
  expect(await told(id)).toMatchObject({ refused: expect.arrayContaining(['finish']) as string[], evidence: [] });
});

test('a worker that is let in no more ends its command at once, and writes nothing', async () => {
  const id = await queued('once', WAITS);
  const working = await start(id);
  const finish = jest.spyOn(working.control, 'finish').mockRejectedValue(new Problem('auth.required', 'revoked'));
  working.shutOut.abort();
  expect(await working.outcome).toEqual({ outcome: 'maybe_run', state: null, waitMs: null });
  expect(finish.mock.calls.length).toBeLessThanOrEqual(1);
  expect((await record(id)).state).toBe('running');
});
