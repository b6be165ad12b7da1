import type { Logger } from 'pino';
import type { ExecutionEnvelope, RefusalCode } from '../../contracts/execution';
import { ProfileError } from '../../domain/execution/sandbox-profiles';
import { debugPoint } from '../../domain/debug-point';
import { Problem } from '../../contracts/problems';
import { isResumable } from '../../domain/execution/command-lease';
import type { Backend, RunContext } from '../backend';
import { isTakenOver, type GrantedClaim } from '../control-plane-answers';
import type { Again } from '../delivery-loop';
import type { DeliveryContext, DeliveryOutcome } from '../executor';
import { releaseLease } from '../release-lease';
import { runOrLeave } from '../run-command';
import type { OpenCommandOutput } from './command-output';
import { reportEnd } from './finish-report';
import { LeaseKeeper } from './lease-keeper';
import { recordIntent } from './record-intent';
import { refusedBefore, requestOf, variablesOf } from './run-request';
import type { WorkerProfiles } from './worker-profiles';
import { runKeyOf } from '../../contracts/names';

/** What commands are run with, made once per process. */
export interface CommandTools {
  backend: Backend;
  /** Folder that all commands run in or below. */
  workspace: string;
  profiles: WorkerProfiles;
  output: OpenCommandOutput;
  hostEnv: NodeJS.ProcessEnv;
  /** Where the api is, for runners that call back. */
  apiUrl: string;
  workerId: string;
  /** Folder of this worker where runs are noted, so that its next start can end what this one leaves. */
  runsFolder: string;
  /** Keys of the runs under way. */
  running: Set<string>;
  /** Milliseconds that a command may go on once the worker is to stop. */
  graceMs: number;
}

/** Why a command was ended before its time. */
type EndedBy = 'lease_over' | 'worker_stopped';

/** What ending a command may take: it is asked, then killed, then reported. */
const END_MS = 6_000;
/** How long a stopping worker goes on reporting. */
const LAST_REPORT_MS = 8_000;

/** From a granted claim to a reported end. */
export async function runClaimed(
  claim: GrantedClaim,
  context: DeliveryContext,
  tools: CommandTools,
): Promise<DeliveryOutcome | Again> {
  if (!claim.run) {
    await releaseLease(claim.lease, 'no_command', context);
    return { outcome: 'hand_back', reason: 'no_command', retryAfterMs: 10_000, stopPolling: false };
  }
  const mayRun = claim.resume ? { ttlMs: claim.ttl_ms } : await recordIntent(claim, context);
  if (!('ttlMs' in mayRun)) return mayRun;
  debugPoint('after-intent');
  const runKey = runKeyOf(claim.work_id, claim.delivery_number);
  tools.running.add(runKey);
  try {
    return await new ClaimedRun(claim, runKey, context, tools).run(mayRun.ttlMs);
  } finally {
    tools.running.delete(runKey);
  }
}

/** One command under its lease. */
class ClaimedRun {
  private readonly logger: Logger;
  private readonly keeper: LeaseKeeper;
  /** Ends the command. */
  private readonly end = new AbortController();
  /** Ends the waiting for a job that goes on. */
  private readonly leave = new AbortController();
  /** Ends reporting. */
  private readonly giveUp = new AbortController();
  private endedBy: EndedBy | null = null;
  /** The ledger knows the job of a runner, so that another worker can wait for its end. */
  private jobIsKnown: boolean;
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly claim: GrantedClaim,
    private readonly runKey: string,
    private readonly context: DeliveryContext,
    private readonly tools: CommandTools,
  ) {
    this.logger = context.logger.child({ delivery_id: claim.delivery_id, epoch: claim.epoch });
    this.keeper = new LeaseKeeper(context.control, claim.lease, this.logger);
    this.jobIsKnown = claim.resume !== undefined;
  }

  async run(ttlMs: number): Promise<DeliveryOutcome> {
    const { cancelSignal, drainSignal, shutOutSignal } = this.context;
    const over = (): void => {
      const { reason } = this.keeper.over as { reason: unknown };
      if (this.jobIsKnown && isWaitedFor(reason, this.claim)) this.leave.abort();
      else this.endBy('lease_over');
    };
    // Whether it really is to end is for the ledger to say, which whoever cancels has told before.
    const ask = (): void => this.keeper.askNow();
    const drain = (): void => this.drain();
    this.keeper.over.addEventListener('abort', over);
    cancelSignal.addEventListener('abort', ask);
    drainSignal.addEventListener('abort', drain);
    const shutOut = (): void => this.shutOut();
    shutOutSignal?.addEventListener('abort', shutOut);
    this.keeper.start(ttlMs);
    if (cancelSignal.aborted) ask();
    if (drainSignal.aborted) drain();
    if (shutOutSignal?.aborted) shutOut();
    try {
      return await this.runAndReport();
    } finally {
      cancelSignal.removeEventListener('abort', ask);
      drainSignal.removeEventListener('abort', drain);
      shutOutSignal?.removeEventListener('abort', shutOut);
      for (const timer of this.timers) clearTimeout(timer);
      await this.keeper.stop();
    }
  }

  private async runAndReport(): Promise<DeliveryOutcome> {
    const { claim, context, tools, logger } = this;
    const { lease, delivery_id: deliveryId } = claim;
    const output = tools.output({ lease, deliveryId, control: context.control, logger });
    const envelope = await this.envelope((stream, chunk) => output.write(stream, chunk));
    // What ends the worker from here on has not ended the command.
    const { endedBy } = this;
    const printed = await output.finish(this.giveUp.signal);
    if (envelope === 'left') return this.handOn();
    const cutBy = wasCut(envelope) ? endedBy : null;
    logger.info({ status: envelope.status, ended_by: endedBy }, 'a command has ended');
    debugPoint('after-run');
    const answer = await reportEnd(
      claim,
      {
        envelope,
        ...(cutBy === 'worker_stopped' ? { interrupted: cutBy } : {}),
        ...(printed ? { output: printed } : {}),
      },
      { ...context, logger },
      { keeper: this.keeper, giveUp: this.giveUp.signal, wasCut: cutBy !== null },
    );
    debugPoint('after-report');
    if (context.cancelSignal.aborted) return { outcome: 'cancelled' };
    if (!answer) return { outcome: 'maybe_run', state: null, waitMs: null };
    return { outcome: 'finished', state: answer.state, waitMs: answer.wait_ms };
  }

  /** A runner's job goes on: whoever takes the task next waits for its end. */
  private async handOn(): Promise<DeliveryOutcome> {
    this.logger.info('another worker is to wait for the end of a job');
    await this.keeper.stop();
    await releaseLease(this.claim.lease, 'draining', this.context);
    return { outcome: 'hand_back', reason: 'handed_on', retryAfterMs: 0, stopPolling: false };
  }

  /** Passes the gates and runs. What is not known of a run that a target may have is never told as "did not run". */
  private async envelope(write: RunContext['output']): Promise<ExecutionEnvelope | 'left'> {
    const { claim, tools } = this;
    const run = claim.run!;
    const request = requestOf(run, tools.workspace);
    const resumed = claim.resume !== undefined;
    const refused = (code: RefusalCode, reason: string, unknown: boolean): ExecutionEnvelope =>
      refusedBefore(tools.backend, request, { profileId: run.sandbox, code, reason, unknown });
    try {
      const profile = tools.profiles.find(run.sandbox);
      const envelope = await runOrLeave(tools.backend, request, profile, this.runContext(write));
      if (envelope !== 'left' && resumed && envelope.status === 'refused') envelope.provenance.outcomeUnknown = true;
      return envelope;
    } catch (error) {
      if (error instanceof ProfileError) {
        const invalid = error.code !== 'sandbox-profile-not-found';
        return refused(invalid ? 'sandbox-profile-invalid' : error.code, error.message, resumed);
      }
      this.logger.error({ err: error }, 'running a command failed by a defect');
      return refused('delegation-failed', 'the worker failed while it ran the command', true);
    }
  }

  private runContext(write: RunContext['output']): RunContext {
    const { claim, runKey, tools, keeper } = this;
    const callback = claim.runnerCallback;
    return {
      signal: this.end.signal,
      leave: this.leave.signal,
      hostEnv: tools.hostEnv,
      runKey,
      workerId: tools.workerId,
      runsFolder: tools.runsFolder,
      variables: variablesOf(claim),
      started: () => keeper.noteRunning(),
      output: write,
      targetKnown: async (handle) => {
        await keeper.tellTarget(handle);
        this.jobIsKnown = isResumable(claim.executor, handle);
      },
      doneHint: keeper.runnerDone,
      ...(claim.resume ? { resumeFrom: claim.resume.target } : {}),
      ...(callback ? { callback: { url: below(tools.apiUrl, callback.path), secret: callback.secret } } : {}),
    };
  }

  private endBy(why: EndedBy): void {
    this.endedBy ??= why;
    this.end.abort();
  }

  /** Nothing that this worker says counts any more: a runner's job is left, what else it holds is ended. */
  private shutOut(): void {
    this.giveUp.abort();
    if (this.jobIsKnown) this.leave.abort();
    else this.endBy('lease_over');
  }

  /** The worker is to stop: a runner's job is left at once, what else it holds may end by itself within the grace. */
  private drain(): void {
    const { graceMs } = this.tools;
    this.leave.abort();
    const endAfter = Math.max(graceMs - END_MS, graceMs / 2);
    this.timers.push(
      setTimeout(() => this.endBy('worker_stopped'), endAfter),
      setTimeout(() => this.giveUp.abort(), endAfter + END_MS + LAST_REPORT_MS),
    );
  }
}

/** The lease is over for this worker only: its delivery goes on, and another worker may hold it by now. */
const isWaitedFor = (reason: unknown, { delivery_number: delivery }: GrantedClaim): boolean =>
  !(reason instanceof Problem) || /^(auth|worker)\./.test(reason.code) || isTakenOver(reason, delivery);

/** It did not end by itself. */
const wasCut = ({ evidence, provenance }: ExecutionEnvelope): boolean =>
  evidence[1] === 'exitCode:null' || provenance.outcomeUnknown === true;

const below = (apiUrl: string, path: string): string => `${apiUrl.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`;
