import type { LifecycleStatus } from '../../contracts/terminology';
import type { Fact, Transition, WorkloadProgress, WorkloadTerms } from '../../domain/workload-progress';
import { isAwaitingExecutor, transition } from '../../domain/workload-state';

/** Nothing in the model takes time: deadlines are hours away until they are made to elapse. */
const NOW = 0;

/** What a call came to: `ok`, or the problem code it was refused with. */
export type Answer = string;

/** A lifecycle record as it is kept. */
export interface KeptRecord {
  number: number;
  event_id: string;
  effect: string;
}

/**
 * One workload as the ledger should have it: the pure transitions, and beside them the simplest account of lease, writes,
 * slots and evidence that can be given. Workers are numbers; 0 and 1 are of the workload's pool, 2 of another.
 */
export class LedgerModel {
  progress: WorkloadProgress;
  lease: { worker: number; epoch: number; delivery: number | null; open: boolean } | null = null;
  readonly writes = new Map<number, 'intended' | 'written' | 'not_written'>();
  /** Deliveries that take a slot. */
  readonly slots = new Set<number>();
  readonly kept: KeptRecord[] = [];
  /** The epoch whose token each worker still has. */
  private readonly tokens = new Map<number, number>();
  private readonly seen = new Set<string>();

  constructor(terms: WorkloadTerms) {
    const accepted: WorkloadProgress = {
      state: 'accepted',
      delivery: 0,
      attempts: 0,
      maxDeliveries: terms.maxDeliveries,
      queuedUntil: null,
      totalAt: null,
      lateUntil: null,
      deadline: null,
      closed: false,
      mayStillRun: false,
      waitingFor: null,
      terms,
    };
    this.progress = transition(accepted, { type: 'admitted', decision: 'dispatch', reason: 'rule' }, NOW).next;
  }

  get awaiting(): boolean {
    return isAwaitingExecutor(this.progress.state);
  }

  claim(worker: number): Answer {
    if (this.awaiting) return 'delivery.maybe_written';
    if (this.progress.state !== 'queued') return 'workload.not_needed';
    if (this.lease?.open && this.lease.worker !== worker) return 'lease.held';
    if (this.lease?.open) this.apply({ type: 'attempt_failed' });
    if (this.progress.state !== 'queued') return 'workload.not_needed';
    this.lease = { worker, epoch: (this.lease?.epoch ?? 0) + 1, delivery: null, open: true };
    this.tokens.set(worker, this.lease.epoch);
    return 'ok';
  }

  intent(worker: number): Answer {
    const { lease } = this;
    if (!lease?.open || !this.holds(worker)) return 'lease.stale';
    if (lease.delivery !== null) return 'delivery.maybe_written';
    lease.delivery = this.progress.delivery + 1;
    this.writes.set(lease.delivery, 'intended');
    this.apply({ type: 'intent' });
    return 'ok';
  }

  report(worker: number): Answer {
    const { lease } = this;
    if (!lease || !this.holds(worker) || (!lease.open && lease.delivery === null)) return 'lease.stale';
    if (lease.delivery === null) return 'workload.state_conflict';
    if (this.writes.get(lease.delivery) === 'intended') this.writes.set(lease.delivery, 'written');
    return 'ok';
  }

  release(worker: number): Answer {
    const { lease } = this;
    if (!lease || !this.holds(worker) || (!lease.open && lease.delivery === null)) return 'lease.stale';
    if (lease.delivery !== null) {
      const { delivery } = lease;
      if (this.writes.get(delivery) === 'not_written') return 'ok';
      const heardOf = this.kept.some(
        ({ number, effect }) => number === delivery && effect !== 'mismatch' && effect !== 'unknown_delivery',
      );
      if (this.writes.get(delivery) === 'written' || heardOf) return 'workload.state_conflict';
      this.writes.set(delivery, 'not_written');
      this.slots.delete(delivery);
      this.apply({ type: 'not_delivered' });
    }
    lease.open = false;
    return 'ok';
  }

  fail(worker: number, retryable: boolean): Answer {
    const { lease } = this;
    if (!lease?.open || !this.holds(worker)) return 'lease.stale';
    if (lease.delivery !== null) return 'workload.state_conflict';
    this.apply(retryable ? { type: 'attempt_failed' } : { type: 'undeliverable', reason: 'too_large' });
    return 'ok';
  }

  /** What the record does; `moved` says whether the workflow must hear of it. */
  lifecycle(
    worker: number,
    record: { number: number; status: LifecycleStatus; event_id: string; mismatching: boolean },
  ): { effect: string; moved: boolean } {
    const { number, status, event_id } = record;
    const identity = [worker === 2, number, event_id].join();
    if (this.seen.has(identity)) return { effect: 'duplicate', moved: false };
    this.seen.add(identity);
    const keep = (effect: string, moved: boolean): { effect: string; moved: boolean } => {
      this.kept.push({ number, event_id, effect });
      return { effect, moved };
    };
    const write = this.writes.get(number);
    if (write === undefined || write === 'not_written') return keep('unknown_delivery', false);
    if (worker === 2 || record.mismatching) return keep('mismatch', false);
    const step = this.apply({ type: 'lifecycle', delivery: number, status });
    if (status !== 'running' && status !== 'preempted') this.noteEnd(number, step);
    return keep(step.verdict, step.path.length > 0);
  }

  /** The executor is done with a delivery, whatever that changes. */
  private noteEnd(number: number, step: Transition): void {
    this.slots.delete(number);
    const evidenceOnly = step.verdict !== 'applied' && step.verdict !== 'corrected';
    if (evidenceOnly && number === this.progress.delivery) this.progress = { ...this.progress, mayStillRun: false };
  }

  elapse(): void {
    const { deadline } = this.progress;
    if (deadline === null) return;
    const elapsed = { ...this.progress, deadline: { ...deadline, at: NOW } };
    if (deadline.kind === 'total') elapsed.totalAt = NOW;
    if (deadline.kind === 'late') elapsed.lateUntil = NOW - 1;
    this.progress = elapsed;
    this.apply({ type: 'deadline' });
  }

  operate(fact: Fact): Answer {
    return this.apply(fact).verdict === 'conflict' ? 'workload.state_conflict' : 'ok';
  }

  private holds(worker: number): boolean {
    return this.lease?.worker === worker && this.tokens.get(worker) === this.lease.epoch;
  }

  private apply(fact: Fact): Transition {
    const wasAwaiting = this.awaiting;
    const latest = this.progress.delivery;
    const step = transition(this.progress, fact, NOW);
    if (step.verdict === 'conflict' || step.next === this.progress) return step;
    this.progress = step.next;
    const { delivery, mayStillRun } = this.progress;
    if (this.lease && !(this.awaiting && this.lease.delivery === delivery)) this.lease.open = false;
    if (this.awaiting) this.slots.add(delivery);
    else if ((wasAwaiting || step.verdict === 'corrected') && !mayStillRun)
      this.slots.delete(Math.max(latest, delivery));
    return step;
  }
}
