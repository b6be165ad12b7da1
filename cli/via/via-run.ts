import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { acceptedAnswer } from '../../api/accepted';
import { pause } from '../../domain/backoff';
import { printable } from '../printable';
import { differences, eventOf, type Asked } from './asked';
import { FollowedOutput } from './followed-output';
import { ServiceRefused, type Service } from './service';
import { isOver, viaRecord, type ViaRecord } from './via-record';

/** Longest time between two looks at the record. */
const LOOK_MS = 1_000;
const FIRST_LOOK_MS = 100;
/** A cancelled command's worker reports its end within this time, or nobody knows. */
const CANCEL_MS = 60_000;
/** A worker gets this long to end a command whose time is over, and to report it. */
const REPORT_MS = 30_000;
/** What was printed last comes within this time after the end. */
const LAST_OUTPUT_MS = 10_000;

export interface ViaRunOptions {
  service: Service;
  asked: Asked;
  /** Aborted: cancel it. */
  interrupt: AbortSignal;
  /** Told what happens, a line each. */
  tell: (line: string) => void;
  /** Takes what the command prints. */
  write: (text: string) => void;
}

/** One command on its way through a service. */
export class ViaRun {
  /** Known once the service has accepted it. */
  workloadId: string | null = null;
  private output: FollowedOutput | null = null;
  private told = '';
  /** When waiting began, and when it was first seen running; of this process's clock. */
  private since = performance.now();
  private runningSince: number | null = null;
  private overSince: number | null = null;
  private cancel: { refused: boolean } | null = null;
  private decided = false;
  private followed = 0;
  /** Aborted when the output of the latest delivery has ended; null before it has any, and once that was heard. */
  private outputEnd: AbortController | null = null;

  constructor(private readonly options: ViaRunOptions) {}

  /**
   * Posts the command and follows it to its end; gives the record of its end, or of when it is not worth waiting for any more: held
   * for approval, or cancelled without a sign of its end. Rejects with what {@link Service.ask} does.
   */
  async toItsEnd(): Promise<ViaRecord> {
    const { service, asked, tell } = this.options;
    const accepted = await service.ask({
      method: 'POST',
      path: '/api/events',
      headers: { prefer: 'wait=10' },
      json: eventOf(asked),
      answer: acceptedAnswer,
    });
    this.workloadId = accepted.workload_id;
    this.since = performance.now();
    tell(`accepted as ${this.workloadId}`);
    this.output = new FollowedOutput({ ...this.options, workloadId: this.workloadId });
    const record = await this.watched(this.workloadId);
    if (record.delivery > 0) await this.output.finish(LAST_OUTPUT_MS);
    return record;
  }

  /** Stops following. */
  async leave(): Promise<void> {
    await this.output?.finish(0);
  }

  private async watched(id: string): Promise<ViaRecord> {
    const { service, interrupt } = this.options;
    for (let wait = FIRST_LOOK_MS; ; wait = Math.min(wait * 2, LOOK_MS)) {
      const record = await service.ask({ method: 'GET', path: `/api/workloads/${id}`, answer: viaRecord });
      if (this.show(record)) wait = FIRST_LOOK_MS;
      if (record.state === 'held' && !interrupt.aborted) return record;
      if (isOver(record) && !this.mayHearOfItsEnd(record)) return record;
      if (this.cancel && !isOver(record) && this.cancel.refused && !interrupt.aborted) return record;
      if (!this.cancel) {
        const why = interrupt.aborted
          ? 'the caller interrupted it'
          : this.isLate(record)
            ? 'the caller’s time is over'
            : null;
        if (why !== null) {
          await this.cancelIt(id, why);
          continue;
        }
      }
      await this.untilNextLook(wait);
    }
  }

  /** Until the next look, which is due at once when the output of a delivery has ended. */
  private async untilNextLook(ms: number): Promise<void> {
    const end = this.outputEnd;
    await pause(ms, ...(this.cancel ? [] : [this.options.interrupt]), ...(end ? [end.signal] : []));
    if (end?.signal.aborted) this.outputEnd = null;
  }

  private follow(delivery: number): void {
    if (!this.output || delivery <= this.followed) return;
    this.followed = delivery;
    this.output.follow(delivery);
    const end = new AbortController();
    this.outputEnd = end;
    void this.output.ended.then(() => end.abort());
  }

  /** It was cancelled when it ran already: its worker is still to report what became of it. */
  private mayHearOfItsEnd({ may_still_run }: ViaRecord): boolean {
    this.overSince ??= performance.now();
    return may_still_run && performance.now() - this.overSince < CANCEL_MS;
  }

  /** Of the caller's own time: so long until it runs, and so long again for it to run. */
  private isLate({ state, decision }: ViaRecord): boolean {
    const { timeoutMs } = this.options.asked;
    if (timeoutMs === undefined) return false;
    if (state === 'running') this.runningSince ??= performance.now();
    const endsItself = decision?.run?.timeout === timeoutMs;
    const limit = this.runningSince !== null && endsItself ? timeoutMs + REPORT_MS : timeoutMs;
    return performance.now() - (this.runningSince ?? this.since) > limit;
  }

  private async cancelIt(id: string, why: string): Promise<void> {
    const { service, tell } = this.options;
    this.cancel = { refused: false };
    tell(`cancelling ${id}: ${why}`);
    try {
      await service.ask({
        method: 'POST',
        path: `/api/workloads/${id}/cancel`,
        headers: { 'idempotency-key': randomUUID() },
        json: { reason: `workloadd exec: ${why}` },
        answer: z.unknown(),
      });
    } catch (error) {
      // It has ended meanwhile.
      if (error instanceof ServiceRefused && error.code === 'workload.state_conflict') return;
      if (!(error instanceof ServiceRefused)) throw error;
      this.cancel.refused = true;
      tell(`it cannot be cancelled, and goes on: ${error.message}`);
    }
  }

  /** Says what is new; whether anything is. */
  private show(record: ViaRecord): boolean {
    const { state, reason, delivery, deliveries, decision } = record;
    this.follow(delivery);
    const now = `${state} ${reason} ${delivery}`;
    if (now === this.told) return false;
    if (decision && !this.decided) this.showDecision(record);
    this.told = now;
    const worker = deliveries.find(({ number }) => number === delivery)?.worker_id;
    const by = worker === undefined ? '' : ` by worker ${worker}`;
    const nth = delivery > 1 ? `, delivery ${delivery}` : '';
    const line: Partial<Record<ViaRecord['state'], string>> = {
      queued:
        reason === 'no_capacity'
          ? `no worker offers ${record.executor} in pool ${record.pool_id} (no_capacity)`
          : `waiting for a worker${reason === decision?.reason ? '' : ` (${reason})`}`,
      delivered: `taken${by}${nth}`,
      running: `running${by}${nth}`,
    };
    if (line[state] !== undefined) this.options.tell(printable(line[state]));
    return true;
  }

  private showDecision(record: ViaRecord): void {
    const { tell, asked } = this.options;
    const { decision, rule_id, executor, pool_id } = record;
    this.decided = true;
    const to = executor === null ? '' : ` to ${executor} in pool ${pool_id}`;
    tell(printable(`${rule_id === null ? 'the policy’s default' : `rule ${rule_id}`} says ${decision!.decision}${to}`));
    if (executor === null) return;
    for (const difference of differences(asked, record)) tell(printable(`the rule has it run with ${difference}`));
  }
}
