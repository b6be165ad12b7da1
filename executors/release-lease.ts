import { Problem } from '../contracts/problems';
import { Backoff, pause } from '../domain/backoff';
import type { Lease } from './control-plane-answers';
import { ControlPlaneUnavailable } from './control-plane-client';
import type { DeliveryContext } from './executor';

/** A lease that was not released in this many tries ends by its own short time to live. */
const RELEASE_TRIES = 3;

/** Gives back a lease under which nothing was handed over or started. Best effort: it is short-lived. */
export async function releaseLease(lease: Lease, reason: string, { control }: DeliveryContext): Promise<void> {
  const backoff = new Backoff(250, 1_000);
  for (let tries = 0; tries < RELEASE_TRIES; tries += 1) {
    try {
      await control.release(lease, reason);
      return;
    } catch (error) {
      if (error instanceof Problem) return;
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      await pause(backoff.next());
    }
  }
}
