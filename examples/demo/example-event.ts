import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { sourceEvent } from '../../contracts/events';
import { DECISIONS, LIFECYCLE_STATUSES, TERMINAL_STATUSES, WORKLOAD_STATES } from '../../contracts/terminology';
import { agentScript, type AgentScript } from '../simulated-opencrow/agent-script';

const reason = z.string().min(1);
const when = z.enum(WORKLOAD_STATES);

/** What somebody does once, as soon as the workload is seen in a state. */
const operatorStep = z.discriminatedUnion('do', [
  z.strictObject({ when, do: z.enum(['approve', 'deny', 'cancel']), reason }),
  z.strictObject({ when, do: z.literal('resolve'), outcome: z.enum(TERMINAL_STATUSES), reason }),
  /** Kills OpenCrow in mid-run; it is started again. */
  z.strictObject({ when, do: z.literal('restart-opencrow') }),
]);
export type OperatorStep = z.infer<typeof operatorStep>;

/** Where the event must end. What is not named is not checked. */
const expectation = z.strictObject({
  decision: z.enum(DECISIONS),
  /** The rule that matched; null for the policy's default. */
  rule: z.string().nullable(),
  state: z.enum(WORKLOAD_STATES),
  reason: reason.optional(),
  /** Times it was handed over. */
  deliveries: z.int().min(0),
  /** What OpenCrow reported, in the order received; repeated datagrams do not count. */
  lifecycle: z.array(z.enum(LIFECYCLE_STATUSES)).optional(),
  /** Whether its outcome was changed after it was lost. Default false. */
  corrected: z.boolean().default(false),
  /** Whether the last report said that no answer was sent. */
  reply_suppressed: z.boolean().optional(),
});
export type Expectation = z.infer<typeof expectation>;

/** A behaviour of the simulated agent, see simulated-opencrow/agent-script.ts. */
const behaviour = z.record(z.string(), z.unknown());

const exampleFile = z.strictObject({
  /** What the example shows. */
  note: z.string().min(1),
  /** As a connector posts it to `POST /api/events`. */
  event: z.unknown(),
  /** How often it is posted; every time but the first must be answered as a duplicate. Default 1. */
  posts: z.int().min(1).default(1),
  /** What the simulated agent does with it, or a list: one for each delivery. Default: it completes. */
  agent: z.union([behaviour, z.array(behaviour).min(1)]).default({ behaviour: 'complete' }),
  operator: operatorStep.optional(),
  expect: expectation,
});

/** One file of examples/events. */
export interface ExampleEvent extends z.infer<typeof exampleFile> {
  /** File name without `.json`. */
  name: string;
  event: z.infer<typeof sourceEvent>;
}

/** Reads all examples of a folder, in the order of their names. Fails when one is not valid. */
export function readExampleEvents(folder: string): ExampleEvent[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  return files.sort().map((file) => {
    try {
      const example = exampleFile.parse(JSON.parse(readFileSync(join(folder, file), 'utf8')));
      return { ...example, event: sourceEvent.parse(example.event), name: basename(file, '.json') };
    } catch (error) {
      throw new Error(`${file} is not a valid example`, { cause: error });
    }
  });
}

/** What the simulated agent has to do so that the examples go as they say. */
export function agentScriptOf(examples: readonly ExampleEvent[]): AgentScript {
  const rules = examples.flatMap(({ event, agent }) => {
    const match = { event_id: event.event_id, source: event.source };
    const [first, ...later] = Array.isArray(agent) ? agent : [agent];
    const ofRedeliveries = later.map((step, index) => ({ match: { ...match, contains: `~${index + 2}"` }, ...step }));
    return [...ofRedeliveries, { match, ...first }];
  });
  return agentScript.parse({ rules });
}
