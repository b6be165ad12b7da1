import { readFileSync } from 'node:fs';
import path from 'node:path';
import { workloadIdFor } from '../../domain/identity';
import type { CompiledPolicy } from '../../domain/policy/compile';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { parsePolicy } from '../../domain/policy/parse';
import { agentScriptOf, readExampleEvents } from '../../examples/demo/example-event';
import { stepFor } from '../../examples/simulated-opencrow/agent-script';
import { buildTriggerLine } from '../../executors/opencrow/trigger-line';
import type { ExampleEvent } from '../../examples/demo/example-event';

const folder = path.resolve(__dirname, '../../examples');
const examples = readExampleEvents(path.join(folder, 'events'));
const policyIn = (file: string): CompiledPolicy => parsePolicy(readFileSync(path.join(folder, file), 'utf8')).policy;
const demo = policyIn('demo-policy.yaml');

/** What the ledger would decide of the events in their order, with every key still taken. */
function decisions(policy: CompiledPolicy): Map<ExampleEvent, { decision: string; rule: string | null }> {
  const taken = new Set<string>();
  return new Map(
    examples.map((example) => {
      const { decision, ruleId: rule, dedupeKey } = evaluatePolicy(policy, example.event, { tenant: 'default' });
      const repeated = dedupeKey !== null && taken.has(dedupeKey);
      if (dedupeKey !== null) taken.add(dedupeKey);
      return [example, { decision: repeated ? 'duplicate' : decision, rule }];
    }),
  );
}

test('there are at least 18 examples, each an event of its own', () => {
  expect(examples.length).toBeGreaterThanOrEqual(18);
  const ids = examples.map(({ event }) => workloadIdFor('default', event.source, event.event_id));
  expect(new Set(ids).size).toBe(examples.length);
});

test('the demo shows every kind of end', () => {
  const shown = new Set<string>(examples.map(({ expect: { state } }) => state));
  const ends = ['completed', 'failed', 'aborted', 'lost', 'refused', 'cancelled', 'duplicate', 'ignored', 'denied'];
  expect(ends.filter((end) => !shown.has(end))).toEqual([]);
});

test.each(['demo-policy.yaml', 'policy.yaml'])('%s decides as the examples expect', (file) => {
  for (const [{ name, expect: expected }, decided] of decisions(policyIn(file))) {
    expect({ name, ...decided }).toEqual({ name, decision: expected.decision, rule: expected.rule });
  }
});

test('exactly the example that expects it is too long for a trigger line', () => {
  const refused = examples.filter(({ event }) => {
    const trigger = evaluatePolicy(demo, event, { tenant: 'default' }).rule?.trigger;
    const deliveryId = workloadIdFor('default', event.source, event.event_id);
    return trigger && !buildTriggerLine({ deliveryId, event, trigger }).ok;
  });
  expect(refused.map(({ name }) => name)).toEqual(
    examples.filter(({ expect: { state } }) => state === 'refused').map(({ name }) => name),
  );
});

test('the simulated agent finds its behaviour for each delivery', () => {
  const script = agentScriptOf(examples);
  for (const { event, agent } of examples) {
    for (const [index, wanted] of (Array.isArray(agent) ? agent : [agent]).entries()) {
      const metadata = { ...event, workload_id: index === 0 ? 'wl_x' : `wl_x~${index + 1}`, response_policy: '' };
      const line = `workload.v1 ${JSON.stringify({ workload_id: metadata.workload_id, event_id: event.event_id })}`;
      expect(stepFor(script, metadata, line)).toMatchObject(wanted);
    }
  }
});
