import type { SourceEvent } from '../../contracts/events';
import { differenceOf } from '../../domain/policy/diff';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { parsePolicy } from '../../domain/policy/parse';
import { explainRecorded, policySaid } from '../../domain/policy/recorded-decision';
import { policyText, when } from '../support/policy';

const { policy } = parsePolicy(
  policyText(when('work', 'event.source == "rss"'), when('no', 'true', 'decision: deny, reason: too_many_waiting')),
);
const recordOf = (source: string) => {
  const event: SourceEvent = { source, action: 'a', event_id: '1', data: {} };
  const evaluation = evaluatePolicy(policy, event, { tenant: 't' });
  return { event, evaluation, recorded: { ...evaluation, decision: 'deny', reason: 'too_many_waiting' } as const };
};

test('work that was denied because too much waits was no decision of the policy', () => {
  const { event, evaluation, recorded } = recordOf('rss');
  expect(policySaid(recorded)).toEqual({ decision: 'dispatch', reason: evaluation.reason });
  expect(explainRecorded(recorded, event, policy, { tenant: 't' }).notRecomputed).toBeNull();
  expect(differenceOf(recorded, evaluation)).toBeNull();
});

test('a rule may deny for a reason of the same name', () => {
  const { event, recorded } = recordOf('git');
  expect(policySaid(recorded)).toEqual({ decision: 'deny', reason: 'too_many_waiting' });
  expect(explainRecorded(recorded, event, policy, { tenant: 't' }).notRecomputed).toBeNull();
});
