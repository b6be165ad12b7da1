import type { WorkloadRecord } from '../../contracts/workload-record';
import type { Expectation } from './example-event';

/** What of a workload is not as its example says, in words; empty when all is. */
export function differences(expected: Expectation, record: WorkloadRecord): string[] {
  const seen = {
    decision: record.decision?.decision ?? 'none',
    rule: record.decision?.rule_id ?? null,
    state: record.closed ? record.state : `${record.state}, still open`,
    reason: record.reason,
    deliveries: record.delivery,
    lifecycle: record.lifecycle.map(({ status }) => status),
    corrected: record.corrected,
    reply_suppressed: record.lifecycle.at(-1)?.reply_suppressed ?? false,
  };
  const wrong = Object.entries(seen).flatMap(([name, value]) => {
    const wanted = expected[name as keyof Expectation];
    if (wanted === undefined || JSON.stringify(wanted) === JSON.stringify(value)) return [];
    return [`${name}: expected ${show(wanted)}, got ${show(value)}`];
  });
  return record.double_execution ? [...wrong, 'it was executed twice'] : wrong;
}

const show = (value: unknown): string => (Array.isArray(value) ? value.join('→') || 'nothing' : String(value));
