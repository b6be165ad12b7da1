import { condition } from '@temporalio/workflow';
import type { Offer } from './offer';

/** Ending a command takes seconds; a worker that is gone is noticed by its silence. Nobody is waited for longer than this. */
const LONGEST_END = '2 minutes';

/** Offers of commands that were withdrawn: their workers are given the time to end what they run. */
export class WithdrawnOffers {
  private offers: Offer[] = [];

  /** Some worker may still be ending its command, and has been given less than the time it gets. */
  get areAwaited(): boolean {
    return this.offers.some(({ finished }) => !finished);
  }

  add(offer: Offer): void {
    offer.withdraw();
    this.offers.push(offer);
  }

  /** Waits until all have ended, for a bounded time, or until `interrupted`. */
  async ended(interrupted: () => boolean): Promise<void> {
    const inTime = await condition(() => interrupted() || !this.areAwaited, LONGEST_END);
    if (!inTime) this.offers = [];
  }
}
