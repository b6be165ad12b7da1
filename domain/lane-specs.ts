import { createHash } from 'node:crypto';
import type { OnDuplicate } from '../contracts/flow-control';
import type { RuleSnapshot } from '../contracts/policy';
import type { Gate } from '../contracts/terminology';

/** One lane that a workload has to pass, as its row keeps it. Times in milliseconds. */
export interface LaneSpec {
  gate: Gate;
  /** Hex SHA-256 over tenant, gate, rule and key: what is in the same lane is counted together. */
  lane: string;
  /** What it does to others with its key; only of the gate `key`. */
  mode: Exclude<OnDuplicate, 'drop'> | null;
  /** How many the gate lets through at once, or within `periodMs`. */
  capacity: number;
  /** Window of a rate, quiet time of a debounce. */
  periodMs: number | null;
  /** Longest wait of a debounce. */
  maxWaitMs: number | null;
}

interface Keys {
  dedupeKey: string | null;
  flowKeys?: Partial<Record<Gate, string>>;
}

/**
 * The lanes of a workload, in the order in which it passes them. A dedupe key belongs to the tenant, whatever rule it comes
 * from; limits belong to the rule.
 */
export function laneSpecs(tenantId: string, rule: RuleSnapshot, keys: Keys): LaneSpec[] {
  const specs: LaneSpec[] = [];
  const { dedupe, flow } = rule;
  const ofRule = (gate: Gate, capacity: number, periodMs: number | null, maxWaitMs: number | null = null): void => {
    const lane = laneHash(tenantId, gate, rule.id, keys.flowKeys?.[gate] ?? '');
    specs.push({ gate, lane, mode: null, capacity, periodMs, maxWaitMs });
  };
  if (flow?.debounce) ofRule('debounce', 1, flow.debounce.for, flow.debounce.max_wait);
  if (dedupe && dedupe.on_duplicate !== 'drop' && keys.dedupeKey !== null) {
    const lane = laneHash(tenantId, 'key', '', keys.dedupeKey);
    specs.push({ gate: 'key', lane, mode: dedupe.on_duplicate, capacity: 1, periodMs: null, maxWaitMs: null });
  }
  if (flow?.concurrency) ofRule('concurrency', flow.concurrency.max, null);
  if (flow?.rate) ofRule('rate', flow.rate.max, flow.rate.per);
  return specs;
}

/** The lanes of a workload that an operator hands over again: it waits for its turn, but neither for silence nor instead of others. */
export const lanesAgain = (specs: readonly LaneSpec[]): LaneSpec[] =>
  specs
    .filter(({ gate }) => gate !== 'debounce')
    .map((spec) => (spec.mode === 'supersede' ? { ...spec, mode: 'queue' } : spec));

function laneHash(...parts: string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = Buffer.from(part, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest('hex');
}
