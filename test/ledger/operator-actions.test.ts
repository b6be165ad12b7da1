import type { TERMINAL_STATUSES } from '../../contracts/terminology';
import { WORKLOAD_STATES, type WorkloadState } from '../../contracts/terminology';
import type { OperatorAction } from '../../ledger/operator-actions';
import { FreshLedger, problemOf, race } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const delivered = async (): Promise<string> => (await ledger.delivered()).workId;

async function reported(
  ...statuses: ('running' | 'preempted' | (typeof TERMINAL_STATUSES)[number])[]
): Promise<string> {
  const { workId, principal } = await ledger.delivered();
  for (const status of statuses) await ledger.report(principal, workId, status);
  return workId;
}

async function elapsed(workId: string): Promise<string> {
  await ledger.elapse(workId);
  await ledger.settle(workId);
  return workId;
}

async function cancelled(workId: string): Promise<string> {
  await ledger.operate(workId, { action: 'cancel' });
  return workId;
}

async function dead(): Promise<string> {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  for (let attempt = 0; attempt < 4; attempt += 1) await race([() => ledger.claim(worker, workId)]);
  return workId;
}

async function duplicate(): Promise<string> {
  const dedupe = { key: ledger.unique('key'), window: 60_000 };
  await ledger.admitted({ dedupe });
  return ledger.admitted({ dedupe });
}

/** Takes a new workload to a state. */
const REACH: Record<WorkloadState, () => Promise<string>> = {
  accepted: () => ledger.accept(),
  held: () => ledger.admitted({ decision: 'hold' }),
  queued: () => ledger.admitted(),
  delivered,
  running: () => reported('running'),
  preempted: () => reported('running', 'preempted'),
  completed: () => reported('completed'),
  failed: () => reported('failed'),
  aborted: () => reported('aborted'),
  dropped: () => reported('dropped'),
  refused: async () => elapsed(await ledger.admitted()),
  cancelled: async () => cancelled(await ledger.admitted()),
  lost: async () => elapsed(await delivered()),
  dead,
  duplicate,
  ignored: () => ledger.admitted({ decision: 'ignore' }),
  denied: () => ledger.admitted({ decision: 'deny' }),
};

const ACTIONS: OperatorAction[] = [
  { action: 'cancel' },
  { action: 'approve' },
  { action: 'deny' },
  { action: 'redeliver' },
  { action: 'resolve', outcome: 'completed' },
];

/** What each action makes of each state; a conflict where nothing is said. */
const MAKES: Record<OperatorAction['action'], Partial<Record<WorkloadState, WorkloadState>>> = {
  cancel: {
    accepted: 'cancelled',
    held: 'cancelled',
    queued: 'cancelled',
    delivered: 'cancelled',
    running: 'cancelled',
    preempted: 'cancelled',
  },
  approve: { held: 'queued' },
  deny: { held: 'denied' },
  redeliver: {
    lost: 'queued',
    failed: 'queued',
    aborted: 'queued',
    dropped: 'queued',
    refused: 'queued',
    dead: 'queued',
    cancelled: 'queued',
  },
  resolve: { lost: 'completed' },
};

const MAY_STILL_RUN: WorkloadState[] = ['delivered', 'running', 'preempted'];

describe.each(ACTIONS)('$action', (action) => {
  test.each(WORKLOAD_STATES)('of a workload that is %s', async (state) => {
    const workId = await REACH[state]();
    const before = await ledger.workload(workId);
    const told = (await ledger.audit(workId)).length;
    expect(before.state).toBe(state);
    const makes = MAKES[action.action][state];

    if (makes === undefined) {
      const problem = await problemOf(ledger.operate(workId, action));
      expect(problem).toMatchObject({ code: 'workload.state_conflict', extra: { state } });
      expect({ ...(await ledger.workload(workId)), now: null }).toEqual({ ...before, now: null });
      expect(await ledger.audit(workId)).toHaveLength(told);
      return;
    }
    await ledger.operate(workId, action);
    const after = await ledger.workload(workId);
    expect(after).toMatchObject({
      state: makes,
      closed: makes !== 'queued',
      may_still_run: action.action === 'cancel' && MAY_STILL_RUN.includes(state),
    });
    expect(BigInt(after.wake_seq)).toBeGreaterThan(BigInt(before.wake_seq));
    const lease = await ledger.lease(workId);
    if (lease) expect(lease.closed_at).not.toBeNull();
    expect((await ledger.audit(workId)).at(-1)).toMatchObject({
      type: `workload.${makes}`,
      actor: 'test',
      detail: { action: action.action, operator_reason: 'because', from: state },
    });
  });

  test("of another tenant's workload is not found, as if there were none", async () => {
    const other = await ledger.tenant();
    const workId = await REACH.held();
    const [theirs, nobodys] = [
      await problemOf(ledger.operate(workId, action, other)),
      await problemOf(ledger.operate('wl_nothing', action)),
    ];
    expect(theirs).toMatchObject({ code: 'not_found', message: nobodys.message, extra: nobodys.extra });
    expect((await ledger.workload(workId)).state).toBe('held');
  });
});

test('the same action many times at once is done once', async () => {
  const workId = await REACH.held();
  const answers = await race(Array.from({ length: 8 }, () => () => ledger.operate(workId, { action: 'approve' })));
  expect(answers.filter((answer) => answer === 'workload.state_conflict')).toHaveLength(7);
  expect(await ledger.audit(workId, 'workload.queued')).toHaveLength(1);
});

test('a workload that was cancelled before it was decided is not decided', async () => {
  const workId = await cancelled(await ledger.accept());
  expect(await ledger.admit(workId)).toMatchObject({ state: 'cancelled', next: 'end' });
  expect(await ledger.db.query('SELECT 1 FROM decisions WHERE workload_id = $1', [workId])).toEqual([]);
  expect((await problemOf(ledger.operate(workId, { action: 'redeliver' }))).code).toBe('workload.state_conflict');
});

test('a redelivery gets a number and an id of its own, so that the old delivery is told apart', async () => {
  const first = await ledger.delivered();
  await elapsed(first.workId);
  await ledger.operate(first.workId, { action: 'redeliver' });
  const other = await ledger.enrol({ pool: first.principal.poolId });
  const second = await ledger.delivered({}, { workId: first.workId, principal: other });
  expect(second.intent).toMatchObject({ delivery_number: 2, delivery_id: `${first.workId}~2` });

  expect(await ledger.report(first.principal, first.workId, 'completed')).toMatchObject({ effect: 'double_execution' });
  expect(await ledger.workload(first.workId)).toMatchObject({ state: 'delivered', double_execution: true });
  await ledger.report(other, first.workId, 'completed', { number: 2 });
  expect(await ledger.workload(first.workId)).toMatchObject({ state: 'completed', double_execution: true });
});

test('what an operator resolved is not changed by what the executor says later', async () => {
  const { workId, principal } = await ledger.delivered();
  await elapsed(workId);
  await ledger.operate(workId, { action: 'resolve', outcome: 'failed' });
  await ledger.report(principal, workId, 'completed');
  expect(await ledger.workload(workId)).toMatchObject({
    state: 'failed',
    corrected: true,
    reason: 'resolved_by_operator',
  });
});
