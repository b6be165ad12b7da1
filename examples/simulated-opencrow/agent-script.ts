import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { WorkloadMetadata } from './workload-grammar';

/** What the simulated agent can do with a workload. */
const BEHAVIOURS = [
  /** Ends after `after_ms`. A provider error looks exactly like this. */
  'complete',
  /** Ends without an answer. */
  'suppress_reply',
  /** Cannot be made to answer: `error` is reported, padded to `error_bytes`. */
  'fail',
  /** As after `!stop` with an agent that dies. */
  'abort',
  /** A chat message comes in at the first attempt; the second one completes. */
  'preempt_then_complete',
  /** Never ends and heeds nothing. */
  'silent',
  /** Completes, but the datagram that says so is lost. */
  'lose_terminal',
  /** Completes, but nothing tells that it ran. */
  'lose_running',
  /** Each datagram comes twice. */
  'duplicate_events',
  /** OpenCrow itself is killed in mid-run. */
  'crash',
] as const;

const step = z.strictObject({
  behaviour: z.enum(BEHAVIOURS),
  /** Milliseconds from `running` to the end. Default 20. */
  after_ms: z.number().min(0).default(20),
  error: z.string().default('pi process closed stdout (EOF)'),
  error_bytes: z.number().int().min(0).default(0),
  /** Times the prompt runs within the attempt: 2 is OpenCrow's silent retry. Default 1. */
  prompts: z.number().int().min(0).max(2).default(1),
  /** What the agent does about a chat message: `dies` gives `preempted` and a requeue, `polite` a short `completed`. */
  on_chat: z.enum(['dies', 'polite']).default('dies'),
  /** Commands that the agent runs at each prompt, one after the other, before anything else. Default none. */
  commands: z.array(z.array(z.string()).min(1)).default([]),
});
export type AgentStep = z.infer<typeof step>;

const matcher = z.strictObject({
  workload_id: z.string().optional(),
  event_id: z.string().optional(),
  source: z.string().optional(),
  action: z.string().optional(),
  /** A text anywhere in the line. */
  contains: z.string().optional(),
});

/** Which workload gets which behaviour: the first rule that matches, else `default`. */
export const agentScript = z.strictObject({
  default: step.prefault({ behaviour: 'complete' }),
  rules: z.array(z.strictObject({ match: matcher, ...step.shape })).default([]),
});
export type AgentScript = z.infer<typeof agentScript>;

/** Reads a script from a JSON file, or from the text itself when it starts with `{`. */
export function readAgentScript(source: string): AgentScript {
  return agentScript.parse(JSON.parse(source.startsWith('{') ? source : readFileSync(source, 'utf8')));
}

export function stepFor(script: AgentScript, metadata: WorkloadMetadata, line: string): AgentStep {
  const found = script.rules.find(({ match }) => {
    const { contains, ...exact } = match;
    const fields = Object.entries(exact) as [keyof typeof exact, string][];
    return fields.every(([name, value]) => metadata[name] === value) && (!contains || line.includes(contains));
  });
  return found ?? script.default;
}
