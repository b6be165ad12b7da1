import fc from 'fast-check';
import type { ExecutionEnvelope, ExecutionHandle } from '../../contracts/execution';
import { claim } from '../../ledger/claims';
import { recordIntent, releaseLease } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import { finishCommand } from '../../ledger/finish-command';
import { renewLease } from '../../ledger/renew-lease';
import type { WorkerPrincipal } from '../../ledger/workers';
import { findingsOf } from '../support/audit';
import { exitedWith, refusedAs } from '../support/envelopes';
import { FreshLedger, intentKey, race } from '../support/fresh-ledger';

let ledger: FreshLedger;
let workers: WorkerPrincipal[];
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
  const pool = ledger.unique('pool');
  workers = await Promise.all(Array.from({ length: 3 }, () => ledger.enrol({ pool, maxOpenDeliveries: 1000 })));
});
afterAll(() => ledger.close());

const BACKENDS = ['node', 'remote'] as const;
type Told = { backend: (typeof BACKENDS)[number] };
const ENDS: ((told: Told) => ExecutionEnvelope)[] = [
  (told) => exitedWith(0, told),
  (told) => exitedWith(1, told),
  (told) => refusedAs('backend-not-ready', told),
  (told) => refusedAs('delegation-failed', { ...told, unknown: true }),
];
const JOBS: ExecutionHandle[] = ['j-1', 'j-2'].map((runnerJobId) => ({
  kind: 'remote',
  ref: 'https://runner/jobs',
  metadata: { runnerJobId },
}));

type Step =
  | { act: 'claim' | 'intent' | 'release'; worker: number }
  | { act: 'renew'; worker: number; running: boolean; job: number | null }
  | { act: 'finish'; worker: number; end: number }
  | { act: 'outlive' | 'settle' | 'elapse' }
  | { act: 'cancel' | 'redeliver' };

/** Mostly the one that claimed last, so that stories get somewhere. */
const HOLDER = -1;
const worker = fc.oneof({ weight: 4, arbitrary: fc.constant(HOLDER) }, { weight: 1, arbitrary: fc.nat({ max: 2 }) });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constant('claim' as const), worker: fc.nat({ max: 2 }) }) },
  { weight: 6, arbitrary: fc.record({ act: fc.constant('intent' as const), worker }) },
  {
    weight: 6,
    arbitrary: fc.record({
      act: fc.constant('renew' as const),
      worker,
      running: fc.boolean(),
      job: fc.option(fc.integer({ min: 0, max: 1 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ act: fc.constant('finish' as const), worker, end: fc.integer({ min: 0, max: 3 }) }),
  },
  fc.record({ act: fc.constant('release' as const), worker }),
  { weight: 3, arbitrary: fc.record({ act: fc.constantFrom('outlive' as const, 'settle' as const) }) },
  fc.record({ act: fc.constant('elapse' as const) }),
  fc.record({ act: fc.constantFrom('cancel' as const, 'redeliver' as const) }),
);

/** One command, and the simplest account of who may say what of it. */
class Story {
  /** Token by worker, and the delivery that each was for. */
  private readonly writes = new Map<number, FencedWrite>();
  private holder: number | null = null;
  private leaseLives = false;
  private readonly ends = new Map<number, ExecutionEnvelope>();
  private readonly reported = new Map<string, ExecutionEnvelope>();
  private readonly jobs = new Map<number, string>();

  constructor(
    readonly workId: string,
    readonly backend: (typeof BACKENDS)[number],
  ) {}

  async take(drawn: Step): Promise<void> {
    const step = 'worker' in drawn && drawn.worker === HOLDER ? { ...drawn, worker: this.holder ?? 0 } : drawn;
    const before = await this.standing();
    switch (step.act) {
      case 'claim':
        return this.claim(step.worker, before);
      case 'intent': {
        const said = await this.asked(step.worker, (write) => recordIntent(ledger.db, write, intentKey()));
        const may = this.holds(step.worker) && before.state === 'queued' && !before.begun;
        return expect(typeof said !== 'string').toBe(may);
      }
      case 'renew':
        return this.renew(step, before);
      case 'finish':
        return this.finish(step.worker, ENDS[step.end]!({ backend: this.backend }), before);
      case 'release': {
        const said = await this.asked(step.worker, (write) => releaseLease(ledger.db, write, 'draining'));
        if (typeof said !== 'string' && this.holder === step.worker) this.leaseLives = false;
        return;
      }
      case 'outlive':
        await ledger.outliveLease(this.workId);
        this.leaseLives = false;
        return;
      case 'elapse':
        await ledger.elapse(this.workId);
        await ledger.settle(this.workId);
        return;
      case 'settle': {
        const view = await ledger.settle(this.workId);
        if (before.awaited && !this.leaseLives)
          expect(view.next === 'offer' || !['delivered', 'running'].includes(view.state)).toBe(true);
        return;
      }
      case 'cancel':
      case 'redeliver':
        await race([() => ledger.operate(this.workId, { action: step.act })]);
    }
  }

  /** Nothing that is written down is ever taken back or changed by somebody else. */
  async check(): Promise<void> {
    const deliveries = await ledger.deliveries(this.workId);
    for (const { number, execution, target } of deliveries) {
      expect(execution === null ? undefined : JSON.parse(execution)).toEqual(this.ends.get(number));
      const job = target === null ? undefined : (JSON.parse(target) as ExecutionHandle).metadata?.['runnerJobId'];
      expect(job).toBe(this.jobs.get(number));
    }
    const lease = await ledger.lease(this.workId);
    const { state, closed, delivery } = await ledger.workload(this.workId);
    const made = deliveries.filter(({ write }) => write !== 'not_written');
    expect(made.map(({ number }) => number)).toEqual(Array.from({ length: delivery }, (_, before) => before + 1));
    if (lease?.closed_at === null && lease.delivery !== null) expect(['delivered', 'running']).toContain(state);
    if (closed && lease) expect(lease.closed_at).not.toBeNull();
  }

  private async claim(index: number, before: Standing): Promise<void> {
    const principal = workers[index]!;
    const [said] = await race([() => claim(ledger.db, principal, this.workId)]);
    if (typeof said === 'string') return;
    if (this.leaseLives) expect(this.holder).toBe(index);
    expect('resume' in said!).toBe(before.awaited);
    if (before.awaited) expect(this.jobs.get(said!.delivery_number)).toBeDefined();
    this.writes.set(index, { principal, workId: this.workId, leaseToken: said!.lease_token });
    this.holder = index;
    this.leaseLives = true;
  }

  private async renew(step: Extract<Step, { act: 'renew' }>, before: Standing): Promise<void> {
    const target = step.job === null ? undefined : JOBS[step.job]!;
    const said = await this.asked(step.worker, (write) =>
      renewLease(ledger.db, write, { running: step.running, target }),
    );
    const known = this.jobs.get(before.delivery);
    const job = target?.metadata?.['runnerJobId'] as string | undefined;
    const may = this.holds(step.worker) && before.awaited && (!known || !job || known === job);
    expect(typeof said !== 'string').toBe(may);
    if (may && job) this.jobs.set(before.delivery, job);
  }

  private async finish(index: number, envelope: ExecutionEnvelope, before: Standing): Promise<void> {
    // The time at which it was made is its own.
    const token = this.writes.get(index)?.leaseToken ?? '';
    const earlier = this.reported.get(token);
    const told = earlier?.status === envelope.status ? earlier : envelope;
    const said = await this.asked(index, (write) => finishCommand(ledger.db, write, { envelope: told }));
    const cancelled = before.state === 'cancelled' && before.mayStillRun && this.holder === index && before.begun;
    const first = (this.holds(index) && before.awaited) || cancelled;
    expect(typeof said !== 'string').toBe(first || told === earlier);
    if (!first) return;
    this.ends.set(before.delivery, told);
    this.reported.set(token, told);
  }

  private holds = (index: number): boolean => this.leaseLives && this.holder === index;

  private async asked<T>(index: number, ask: (write: FencedWrite) => Promise<T>): Promise<T | string> {
    const write = this.writes.get(index);
    const [said] = await race<T | string>([() => (write ? ask(write) : Promise.resolve('no lease'))]);
    return said!;
  }

  private async standing(): Promise<Standing> {
    const { state, delivery, may_still_run: mayStillRun } = await ledger.workload(this.workId);
    const lease = await ledger.lease(this.workId);
    this.leaseLives = lease !== null && lease.closed_at === null && lease.expires_at > lease.now;
    const awaited = state === 'delivered' || state === 'running';
    return { state, delivery, mayStillRun, awaited, begun: lease?.delivery === delivery && delivery > 0 };
  }
}

interface Standing {
  state: string;
  delivery: number;
  mayStillRun: boolean;
  awaited: boolean;
  /** The lease is for the present delivery. */
  begun: boolean;
}

test('whatever comes in whatever order: one holder, one end, one job, and no contradiction', async () => {
  const steps = fc.array(anyStep, { minLength: 25, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...BACKENDS), fc.boolean(), steps, async (backend, again, taken) => {
      const retry = { redeliver_on: again ? (['lost'] as const) : [], max_deliveries: 3 };
      const rule = {
        executor: backend,
        pool: workers[0]!.poolId,
        retry: { ...retry, redeliver_on: [...retry.redeliver_on] },
      };
      const story = new Story(await ledger.admitted(rule), backend);
      const begun: Step[] = [
        { act: 'claim', worker: 0 },
        { act: 'intent', worker: 0 },
      ];
      for (const step of [...begun, ...taken]) {
        await story.take(step);
        await story.check();
      }
    }),
    { numRuns: 12 },
  );
  expect((await findingsOf(ledger.db)).filter(({ code }) => !code.startsWith('chain.'))).toEqual([]);
});
