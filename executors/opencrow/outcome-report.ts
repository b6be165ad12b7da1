import { Problem } from '../../contracts/problems';
import type { LeaseOutcome } from '../../contracts/worker-protocol';
import { Backoff, pause } from '../../domain/backoff';
import { ControlPlaneUnavailable } from '../control-plane-client';
import type { DeliveryContext } from '../executor';
import { releaseLease } from '../release-lease';
import type { DeliveryTools } from './delivery-tools';
import type { HeldLease } from './lease-folder';
import { refusedReport, reportLease } from './lease-report';

/** How long a delivery that nobody waits for goes on trying to report. */
const LAST_REPORT_MS = 10_000;

/**
 * Keeps the outcome on disk and reports it until it is accepted or the lease is over. Null when the control plane did not
 * take it: then it is too late to matter, or it is reported in the background or by the next start of the worker.
 */
export async function report(
  known: HeldLease,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<LeaseOutcome | null> {
  await keep(known, tools, context);
  const backoff = new Backoff(250, 15_000);
  let giveUpAt = Infinity;
  for (;;) {
    try {
      const answer = await reportLease(context.control, known);
      await tools.leases.drop(known.lease);
      return answer;
    } catch (error) {
      if (!(error instanceof Problem) && !(error instanceof ControlPlaneUnavailable)) throw error;
      const refused = error instanceof Problem ? refusedReport(error) : 'wait';
      const reason = error instanceof Problem ? error.code : error.why;
      context.logger.warn({ reason, phase: known.phase, next: refused }, 'the outcome of a write was not accepted');
      if (refused === 'over') {
        await tools.leases.drop(known.lease);
        return null;
      }
      const unwanted = context.drainSignal.aborted || context.cancelSignal.aborted;
      if (unwanted) giveUpAt = Math.min(giveUpAt, Date.now() + LAST_REPORT_MS);
      if (refused === 'later' || Date.now() >= giveUpAt) {
        tools.reportLater(known);
        return null;
      }
      const wait = Math.max(backoff.next(), error.retryAfterMs ?? 0);
      await (unwanted ? pause(Math.min(wait, 1_000)) : pause(wait, context.drainSignal, context.cancelSignal));
    }
  }
}

/** Gives back a lease whose intent was never asked for. */
export async function releaseUnused(
  held: HeldLease,
  reason: string,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<void> {
  await releaseLease(held.lease, reason, context);
  await tools.leases.drop(held.lease);
}

/** Saves a lease file; false when the disk refuses. Only what precedes a write needs to survive a power cut. */
export async function keep(held: HeldLease, tools: DeliveryTools, context: DeliveryContext): Promise<boolean> {
  try {
    await tools.leases.save(held, { durable: held.phase === 'intended' });
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown_error';
    context.logger.error({ code, phase: held.phase }, 'a lease file cannot be written');
    return false;
  }
}
