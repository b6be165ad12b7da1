import type { Logger } from 'pino';
import { Problem } from '../../contracts/problems';
import { Backoff, pause } from '../../domain/backoff';
import { ControlPlaneUnavailable, type ControlPlaneClient } from '../control-plane-client';
import type { HeldLease, LeaseFolder } from './lease-folder';
import { refusedReport, reportLease } from './lease-report';

/**
 * Reports every lease that an earlier process of this worker left behind, until each is accepted or over. Runs beside
 * new deliveries: a claim of the same workload gets a newer epoch, which makes the old report stale.
 */
export async function recoverLeases(
  folder: LeaseFolder,
  control: ControlPlaneClient,
  logger: Logger,
  stopSignal: AbortSignal,
): Promise<void> {
  const { held, unreadable } = await folder.list();
  if (unreadable.length > 0) logger.error({ files: unreadable }, 'lease files could not be read and were set aside');
  await Promise.all(held.map((lease) => recoverLease(lease, folder, control, logger, stopSignal)));
}

/** Reports one lease until it is accepted or over, or `stopSignal` aborts; then its file stays for the next start. */
export async function recoverLease(
  held: HeldLease,
  folder: LeaseFolder,
  control: ControlPlaneClient,
  logger: Logger,
  stopSignal: AbortSignal,
): Promise<void> {
  const log = logger.child({ workload_id: held.lease.workId, delivery_id: held.deliveryId, phase: held.phase });
  const backoff = new Backoff(250, 15_000);
  while (!stopSignal.aborted) {
    try {
      const { state } = await reportLease(control, held);
      log.info({ state }, 'a lease was reported late');
      return await folder.drop(held.lease);
    } catch (error) {
      if (error instanceof Problem && refusedReport(error) === 'over') {
        log.info({ code: error.code }, 'a lease that was to be reported is over');
        return await folder.drop(held.lease);
      }
      if (!(error instanceof Problem) && !(error instanceof ControlPlaneUnavailable)) throw error;
      log.warn({ reason: error instanceof Problem ? error.code : error.why }, 'a lease is not reported yet');
      await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), stopSignal);
    }
  }
}
