import type { HeldLease, LeaseFolder } from './lease-folder';
import type { PipeWatch } from './pipe-watch';

/** What a delivery works with, made once per process. */
export interface DeliveryTools {
  pipe: PipeWatch;
  leases: LeaseFolder;
  /** Goes on reporting a lease in the background, after the delivery has ended. */
  reportLater(held: HeldLease): void;
  /** Aborted when an executor's end was reported, which may have freed a slot; a new one each time. */
  slotFreed(): AbortSignal;
}
