import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import {
  WAKE_SIGNAL,
  type Wake,
  type WorkloadInput,
  type WorkloadSummary,
  type WorkloadView,
} from '../contracts/workflow';
import { livesByItsLease } from '../contracts/terminology';
import { admit, settle } from './control-activities';
import { DeadlineTimer } from './deadline-timer';
import { Offer } from './offer';
import { Publisher } from './publisher';
import { WithdrawnOffers } from './withdrawn-offers';

/** The ledger is not asked more often than this whether a lease has run out. */
const LEAST_LOOK_MS = 1_000;

const wakeSignal = defineSignal<[Wake]>(WAKE_SIGNAL);

/**
 * Drives one workload: the ledger decides, this waits. After each wake, deadline or finished offer it goes by what the ledger
 * says, so it can be started anew at any point of a workload's life.
 */
export async function workload(input: WorkloadInput): Promise<WorkloadSummary> {
  const wakes: Wake[] = [];
  setHandler(wakeSignal, (wake) => void wakes.push(wake), { description: 'The ledger has something new.' });
  const timer = new DeadlineTimer();
  const publisher = new Publisher();
  const withdrawn = new WithdrawnOffers();
  let offer = null as Offer | null;

  let view = await admit(input.workload_id);
  publisher.publish(view);
  while (view.next !== 'end' || wakes.length > 0 || offer?.livesByItsLease || withdrawn.areAwaited) {
    if (view.next === 'end') {
      if (offer?.livesByItsLease) {
        withdrawn.add(offer);
        offer = null;
      }
      if (withdrawn.areAwaited) await withdrawn.ended(() => wakes.length > 0);
      if (wakes.length === 0) continue;
      wakes.length = 0;
      view = await settle(input.workload_id);
      publisher.publish(view);
      continue;
    }
    if (view.next === 'offer' && offer?.isOutdatedBy(view)) {
      withdrawn.add(offer);
      offer = null;
    }
    if (view.next === 'offer') offer ??= new Offer(view);
    timer.set(patience(view, offer !== null));
    await condition(() => wakes.length > 0 || timer.passed || offer?.finished === true);

    if (offer?.finished) {
      // The ledger's answer covers what the wakes of a command told.
      if (offer.livesByItsLease) wakes.length = 0;
      view = offer.standing(view) ?? (await settle(input.workload_id));
      if (view.next === 'offer' && offer.cameToNothing(view)) await condition(() => wakes.length > 0, offer.pauseMs);
      offer = null;
    } else {
      const wake = wakes.shift();
      // Beside the one that was taken: should its worker be at work after all, the ledger lets nobody else have it.
      if (wake?.offer_again === true && view.next === 'offer') offer = null;
      if (offer && endsWithItsOffer(view, wake)) continue;
      view = progressed(view, wake) ?? (await settle(input.workload_id));
    }
    publisher.publish(view);
    if (workflowInfo().continueAsNewSuggested && offer === null && !withdrawn.areAwaited && view.next !== 'end') {
      timer.set(null);
      await condition(allHandlersFinished);
      await continueAsNew<typeof workload>(input);
    }
  }
  timer.set(null);
  offer?.withdraw();
  await condition(allHandlersFinished);
  return { state: view.state, reason: view.reason, rule: view.rule_id, deliveries: view.delivery };
}

/**
 * How long the ledger is not asked, milliseconds. Who keeps a lease alive holds its offer while it works, so the deadlines go on beside it;
 * when no worker is waited for, its lease is one more deadline.
 */
function patience(view: WorkloadView, isOffered: boolean): number | null {
  if (!livesByItsLease(view.executor)) return view.next === 'wait' ? view.wait_ms : null;
  if (isOffered || view.lease_ms === undefined) return view.wait_ms;
  return Math.min(view.wait_ms ?? Infinity, Math.max(view.lease_ms, LEAST_LOOK_MS));
}

/** Work that runs under a lease and whose end is told: the worker that told it ends its offer too, at once or by its silence. */
function endsWithItsOffer(view: WorkloadView, wake: Wake | undefined): boolean {
  const runs = livesByItsLease(view.executor) && view.state === 'running' && view.next === 'wait';
  return runs && (wake?.state === 'completed' || wake?.state === 'failed' || wake?.state === 'aborted');
}

/**
 * A wake that says `running` or `preempted` changes nothing but the display and the time to wait, so it costs no look into the
 * ledger; a forged one is put right at the next deadline. Null: the ledger must be asked.
 */
function progressed(view: WorkloadView, wake: Wake | undefined): WorkloadView | null {
  if (wake?.state !== 'running' && wake?.state !== 'preempted') return null;
  // Told again of a command, it is no news of its start: somebody found that its lease is over.
  if (livesByItsLease(view.executor) && view.state === wake.state) return null;
  return { ...view, state: wake.state, reason: `executor_${wake.state}`, next: 'wait', wait_ms: wake.wait_ms };
}
