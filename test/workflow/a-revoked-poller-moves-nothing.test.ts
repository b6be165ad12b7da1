import { ApplicationFailure, Context } from '@temporalio/activity';
import { taskQueueOf } from '../../contracts/names';
import type { ExecuteResult } from '../../contracts/workflow';
import { claim } from '../../ledger/claims';
import { recordIntent } from '../../ledger/deliveries';
import { enrolWorker } from '../../ledger/enrol-worker';
import { unsentOf } from '../../ledger/outbox';
import { orderWorker } from '../../ledger/worker-orders';
import { authenticateWorker, type WorkerPrincipal } from '../../ledger/workers';
import { reportRun } from '../../ledger/work-writes/run-status';
import { DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';
import { intentKey, refusal } from '../support/fresh-ledger';

const POLICY = `
version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - { id: managed, when: 'event.action == "execute"', decision: dispatch, to: { executor: managed } }
  - { id: opencrow, when: 'true', decision: dispatch }
`;

/** Says what is not so, as whoever polls a queue can. */
const answers =
  (state: unknown, wait_ms: unknown, outcome: unknown = 'delivered') =>
  (): Promise<unknown> =>
    Promise.resolve({ outcome, state, wait_ms });
const fails = (failure: Parameters<typeof ApplicationFailure.create>[0]) => (): Promise<unknown> =>
  Promise.reject(ApplicationFailure.create({ message: 'forged', ...failure }));

/** What a poller that is let in no more can do with a task that it takes. */
const MISDEEDS: Record<string, () => Promise<unknown>> = {
  'says that it was handed over': answers('delivered', 8.64e9),
  'says that there is nothing to wait for': answers('delivered', null),
  'says what nobody understands': answers('delivered', 'soon', { forged: true }),
  'says that it is completed': answers('completed', null, 'finished'),
  'answers nothing': () => Promise.resolve(null),
  'fails it for good': fails({ nonRetryable: true }),
  'puts it off for a year': fails({ nextRetryDelay: '365 days' }),
  'keeps it and looks alive': async () => {
    const { cancelled, heartbeat } = Context.current();
    const beats = setInterval(() => Context.current().heartbeat(), 500);
    heartbeat();
    return cancelled.finally(() => clearInterval(beats));
  },
};

let system: DrivenSystem;
let revoked: WorkerPrincipal;
/** The workloads by what was done to their first offers, of either kind of task. */
const taken = new Map<string, string>();
const refusals = new Set<string>();

/** Does each misdeed once to the tasks of a queue; from then on it takes them and hands them back, again and again. */
const misbehave = (kind: string): ((input: { work_id: string }) => Promise<unknown>) => {
  const left = Object.keys(MISDEEDS);
  return async ({ work_id: id }) => {
    refusals.add(await refusal(claim(system.db, revoked, id)));
    const deed = taken.has(id) ? undefined : left.shift();
    if (deed === undefined) throw ApplicationFailure.create({ message: 'again', nextRetryDelay: '1 second' });
    taken.set(id, `${kind}: ${deed}`);
    return MISDEEDS[deed]!();
  };
};

beforeAll(async () => {
  system = await DrivenSystem.start(POLICY, { poolWorker: false, unheldMs: 1_000 });
  const { plaintext } = await enrolWorker(system.db, { workerId: 'w2', poolId: 'default', actor: 'test' });
  revoked = (await authenticateWorker(system.db, plaintext.reveal()))!;
  await system.db.transaction((tx) => orderWorker(tx, 'w2', 'revoke', { actor: 'test', reason: 'lost' }));
});
afterAll(() => system.stop());

async function work(workId: string): Promise<ExecuteResult> {
  const { lease_token: leaseToken } = await claim(system.db, system.principal, workId);
  const write = { principal: system.principal, workId, leaseToken };
  await recordIntent(system.db, write, intentKey());
  const { answer, wake } = await reportRun(system.db, write, { status: 'completed' });
  if (wake) system.hints.send(unsentOf(wake));
  return { outcome: 'finished', ...answer };
}

test('whatever it does with the tasks it takes, each is offered again, and the ledger says what became of it', async () => {
  const kinds = { deliver: taskQueueOf('default'), execute: taskQueueOf('default', 'managed') };
  for (const [kind, queue] of Object.entries(kinds)) {
    await system.poll(queue, { [kind]: misbehave(kind) });
    for (const _ of Object.keys(MISDEEDS)) await system.post({ action: kind });
  }
  await eventually(() => expect(taken.size).toBe(2 * Object.keys(MISDEEDS).length));
  expect([...refusals]).toEqual(['worker.revoked']);
  for (const id of taken.keys()) expect(await system.row(id)).toMatchObject({ state: 'queued', delivery: 0 });

  await system.startPoolWorker();
  await system.startExecuting('managed', work);
  const expected = [...taken.values()].map(
    (deed) => `${deed} ${deed.startsWith('deliver') ? 'delivered' : 'completed'}`,
  );
  await eventually(
    async () => {
      const rows = [...taken].map(async ([id, deed]) => `${deed} ${(await system.row(id)).state}`);
      expect((await Promise.all(rows)).sort()).toEqual(expected.sort());
    },
    { timeout: 60_000, interval: 200 },
  );
  for (const [id, deed] of taken) {
    if (deed.startsWith('deliver')) await system.report(id, 'completed');
    expect(await system.workflow(id).result()).toMatchObject({ state: 'completed', deliveries: 1 });
  }
}, 90_000);
