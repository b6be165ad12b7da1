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
import { admit, settle } from './control-activities';
import { DeadlineTimer } from './deadline-timer';
import { Offer } from './offer';
import { Publisher } from './publisher';

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
  let offer: Offer | null = null;

  let view = await admit(input.workload_id);
  publisher.publish(view);
  while (view.next !== 'end' || wakes.length > 0) {
    if (view.next === 'end') {
      wakes.length = 0;
      view = await settle(input.workload_id);
      publisher.publish(view);
      continue;
    }
    if (view.next === 'offer') offer ??= new Offer(view);
    timer.set(view.next === 'wait' ? view.wait_ms : null);
    await condition(() => wakes.length > 0 || timer.passed || offer?.finished === true);

    if (offer?.finished) {
      view = offer.standing(view) ?? (await settle(input.workload_id));
      if (offer.failed && view.next === 'offer') await condition(() => wakes.length > 0, offer.pauseMs);
      offer = null;
    } else {
      const wake = wakes.shift();
      view = progressed(view, wake) ?? (await settle(input.workload_id));
    }
    publisher.publish(view);
    if (workflowInfo().continueAsNewSuggested && offer === null && view.next === 'wait') {
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
 * A wake that says `running` or `preempted` changes nothing but the display and the time to wait, so it costs no look into the
 * ledger; a forged one is put right at the next deadline. Null: the ledger must be asked.
 */
function progressed(view: WorkloadView, wake: Wake | undefined): WorkloadView | null {
  if (wake?.state !== 'running' && wake?.state !== 'preempted') return null;
  return { ...view, state: wake.state, reason: `executor_${wake.state}`, next: 'wait', wait_ms: wake.wait_ms };
}
