import type { ExecutionEnvelope } from '../../contracts/execution';
import type { LifecycleRecord } from '../../contracts/lifecycle';
import { Problem } from '../../contracts/problems';
import type { LeaseOutcome } from '../../contracts/worker-protocol';
import { Backoff, pause } from '../../domain/backoff';
import type { GrantedClaim } from '../control-plane-answers';
import { ControlPlaneUnavailable, type CommandEnd } from '../control-plane-client';
import type { DeliveryContext } from '../executor';
import type { LeaseKeeper } from './lease-keeper';

/** Nobody is helped by a report that is later than this. */
const LONGEST_REPORT_MS = 24 * 3600 * 1000;

/**
 * Tells the control plane how a command ended, again and again until it is taken, refused for good, or `giveUp` aborts. An end that
 * comes too late for its lease is told as evidence, but not of a command that `wasCut` off before its end: that is lost, as the
 * ledger says already. Null when the ledger did not take it as the outcome.
 */
export async function reportEnd(
  claim: GrantedClaim,
  end: CommandEnd,
  context: DeliveryContext,
  { keeper, giveUp, wasCut }: { keeper: LeaseKeeper; giveUp: AbortSignal; wasCut: boolean },
): Promise<LeaseOutcome | null> {
  const { control, logger } = context;
  const answer = await insist(() => keeper.conclude(() => control.finish(claim.lease, end)), context, giveUp);
  if (!(answer instanceof Problem)) return answer;
  logger.warn({ code: answer.code }, 'the end of a command was not accepted');
  const evidence = answer.code === 'lease.stale' && !wasCut ? evidenceOf(claim, end.envelope) : null;
  if (evidence) await insist(() => control.lifecycle([evidence]), context, giveUp);
  return null;
}

/** What came of the request: its answer, a refusal for good, or null when it was given up. */
async function insist<T>(
  request: () => Promise<T>,
  { logger }: DeliveryContext,
  giveUp: AbortSignal,
): Promise<T | Problem | null> {
  const backoff = new Backoff(250, 15_000);
  const until = Date.now() + LONGEST_REPORT_MS;
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof Problem) && !(error instanceof ControlPlaneUnavailable)) throw error;
      if (error instanceof Problem && isFinal(error)) return error;
      const reason = error instanceof Problem ? error.code : error.why;
      logger.warn({ reason }, 'the end of a command is not reported yet');
      if (giveUp.aborted || Date.now() > until) return null;
      await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), giveUp);
    }
  }
}

/** Refusals that are about the worker's state, or only about the moment, may pass. */
const isFinal = ({ status, code }: Problem): boolean =>
  code === 'worker.revoked' || code === 'worker.retired' || ![401, 403, 429].includes(status);

/** A command that is known to have run, as lifecycle; null when nothing is known. The same end always has the same id. */
function evidenceOf(
  { delivery_id: deliveryId, lease }: GrantedClaim,
  { status, evidence, provenance }: ExecutionEnvelope,
): LifecycleRecord | null {
  if (status === 'refused') return null;
  return {
    event_id: `${provenance.backendId}:${deliveryId}:${lease.epoch}:${status}`,
    delivery_id: deliveryId,
    status,
    occurred_at: provenance.attestation.recordedAt,
    ...(status === 'completed' ? {} : { error: evidence[1] ?? '' }),
  };
}
