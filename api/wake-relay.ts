import {
  isGrpcServiceError,
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  type Client,
} from '@temporalio/client';
import type { Logger } from 'pino';
import { inlineCode } from '../contracts/markdown';
import { CONTROL_TASK_QUEUE, workflowIdOf } from '../contracts/names';
import { WAKE_SIGNAL, WORKLOAD_WORKFLOW, type Wake } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import type { Database } from '../ledger/database';
import { markSent, takeUnsent, type UnsentWake } from '../ledger/outbox';
import { SEARCH_ATTRIBUTE_KEYS } from '../contracts/search-attributes';

export interface WakeRelayOptions {
  db: Database;
  client: Client;
  logger: Logger;
  /** A wake that nobody sent for this long is taken by the relay. Default 2,000 ms. */
  minAgeMs?: number;
  /** How often the relay looks for unsent wakes. Default 1,000 ms. */
  pollMs?: number;
}

/** Hints that a committed fact wants sending; losing a hint costs `minAgeMs`, never the fact. */
export interface WakeSender {
  send(wake: UnsentWake): void;
}

const CONCURRENCY = 32;
const QUEUE_LIMIT = 2_000;
const CALL_DEADLINE_MS = 5_000;
const FLUSH_MS = 25;
/** What a search attribute holds at most on Temporal's SQL stores, in characters. */
const KEYWORD_LENGTH = 255;
/** How long progress waits for something that makes it old news: a workload that ends at once costs one signal, not two. */
const PROGRESS_DELAY_MS = 100;

/** A wake to send; `hint` when it may be older than what the ledger says by now. */
interface Outgoing {
  wake: UnsentWake;
  hint: boolean;
}

/**
 * Sends committed facts to Temporal: starts a workload's workflow or wakes it. What is not noted as sent is sent again, by
 * this process or another; deterministic workflow ids make that harmless.
 */
export class WakeRelay implements WakeSender {
  private readonly queue: Outgoing[] = [];
  private readonly progress = new Map<string, NodeJS.Timeout>();
  private readonly sent: { workload_id: string; wake_seq: string }[] = [];
  private inFlight = 0;
  private stopped = false;
  private pausedUntil = 0;
  private polling: Promise<void> = Promise.resolve();
  private flushing: Promise<void> | null = null;
  private pollTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: WakeRelayOptions) {}

  start(): void {
    this.schedulePoll();
  }

  send(wake: UnsentWake): void {
    if (this.stopped || this.queue.length >= QUEUE_LIMIT || Date.now() < this.pausedUntil) return;
    clearTimeout(this.progress.get(wake.workload_id));
    this.progress.delete(wake.workload_id);
    if (isProgress(wake) && this.progress.size < QUEUE_LIMIT) this.sendLater(wake);
    else this.enqueue(wake);
  }

  private sendLater(wake: UnsentWake): void {
    const timer = setTimeout(() => {
      this.progress.delete(wake.workload_id);
      if (!this.stopped) this.enqueue(wake);
    }, PROGRESS_DELAY_MS);
    this.progress.set(wake.workload_id, timer);
  }

  private enqueue(wake: UnsentWake): void {
    this.queue.push({ wake, hint: true });
    this.pump();
  }

  /** Takes nothing new, lets calls in flight end and notes what was sent. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.queue.length = 0;
    for (const timer of this.progress.values()) clearTimeout(timer);
    clearTimeout(this.pollTimer);
    await this.polling;
    while (this.inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await this.flush();
  }

  private schedulePoll(): void {
    if (this.stopped) return;
    this.pollTimer = setTimeout(() => {
      this.polling = this.poll().finally(() => this.schedulePoll());
    }, this.options.pollMs ?? 1_000);
  }

  private async poll(): Promise<void> {
    if (Date.now() < this.pausedUntil || this.queue.length >= QUEUE_LIMIT) return;
    try {
      const due = await takeUnsent(this.options.db, this.options.minAgeMs ?? 2_000, CONCURRENCY * 4);
      this.queue.unshift(...due.map((wake) => ({ wake, hint: false })));
      this.pump();
    } catch (error) {
      this.options.logger.warn({ code: codeOf(error) }, 'cannot read unsent wakes; trying again');
    }
  }

  private pump(): void {
    while (this.inFlight < CONCURRENCY && this.queue.length > 0) {
      const outgoing = this.queue.shift()!;
      this.inFlight += 1;
      void this.deliver(outgoing).finally(() => {
        this.inFlight -= 1;
        this.pump();
      });
    }
  }

  private async deliver({ wake, hint }: Outgoing): Promise<void> {
    try {
      const deadline = Date.now() + CALL_DEADLINE_MS;
      const taken = await this.options.client.connection.withDeadline(deadline, () => this.tell(wake, hint));
      if (!taken) return;
      debugPoint('wake-told');
      this.sent.push({ workload_id: wake.workload_id, wake_seq: wake.wake_seq });
      this.flushing ??= this.flushSoon();
    } catch (error) {
      if (isOutage(error)) this.pause();
      this.options.logger.warn(
        { workload_id: wake.workload_id, code: codeOf(error) },
        'Temporal did not take a wake; trying again',
      );
    }
  }

  /** Everything queued stays unsent in the ledger, and is taken from there when Temporal answers again. */
  private pause(): void {
    this.pausedUntil = Date.now() + (this.options.minAgeMs ?? 2_000);
    this.queue.length = 0;
  }

  /** False when the wake is left to the next look into the ledger, which knows more. */
  private async tell(wake: UnsentWake, hint: boolean): Promise<boolean> {
    if (wake.state === 'accepted') return this.startWorkflow(wake);
    try {
      const told: Wake = { state: wake.state, wait_ms: wake.wait_ms };
      await this.options.client.workflow.getHandle(workflowIdOf(wake.workload_id)).signal(WAKE_SIGNAL, told);
      return true;
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      if (wake.closed) return true;
      return hint && isProgress(wake) ? false : this.startWorkflow(wake);
    }
  }

  private async startWorkflow(wake: UnsentWake): Promise<true> {
    try {
      await this.options.client.workflow.start(WORKLOAD_WORKFLOW, {
        workflowId: workflowIdOf(wake.workload_id),
        taskQueue: CONTROL_TASK_QUEUE,
        args: [{ workload_id: wake.workload_id }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        staticSummary: `${wake.source} ${wake.action}`.replaceAll('`', "'").slice(0, 160),
        staticDetails: `source ${inlineCode(wake.source)}, action ${inlineCode(wake.action)}, tenant ${inlineCode(wake.tenant_id)}`,
        typedSearchAttributes: [
          { key: SEARCH_ATTRIBUTE_KEYS.tenant, value: wake.tenant_id.slice(0, KEYWORD_LENGTH) },
          { key: SEARCH_ATTRIBUTE_KEYS.source, value: wake.source.slice(0, KEYWORD_LENGTH) },
          { key: SEARCH_ATTRIBUTE_KEYS.action, value: wake.action.slice(0, KEYWORD_LENGTH) },
          { key: SEARCH_ATTRIBUTE_KEYS.state, value: wake.state },
        ],
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
    return true;
  }

  private async flushSoon(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
    this.flushing = null;
    await this.flush();
  }

  private async flush(): Promise<void> {
    const batch = this.sent.splice(0);
    try {
      await markSent(this.options.db, batch);
    } catch (error) {
      this.options.logger.warn(
        { code: codeOf(error), wakes: batch.length },
        'sent wakes could not be noted; they go again',
      );
    }
  }
}

export const createWakeRelay = (options: WakeRelayOptions): WakeRelay => new WakeRelay(options);

const isProgress = ({ state }: UnsentWake): boolean => state === 'running' || state === 'preempted';

/** gRPC codes that are about the one request: INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE. */
const ONE_REQUEST = new Set([3, 9, 11]);

/** Whether Temporal itself does not take anything now; else the trouble is one workload's own. */
const isOutage = (error: unknown): boolean =>
  !(error instanceof ServiceError && isGrpcServiceError(error.cause) && ONE_REQUEST.has(error.cause.code));

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown';
  const cause = 'cause' in error ? error.cause : undefined;
  const code =
    'code' in error ? error.code : cause && typeof cause === 'object' && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' || typeof code === 'number' ? String(code) : error.constructor.name;
}
