import type { RuleSnapshot } from '../contracts/policy';
import { Problem } from '../contracts/problems';
import type { TerminalStatus } from '../contracts/terminology';
import type { Fact } from '../domain/workload-progress';
import { claimDedupeKey } from './admission';
import { isRedeliverable } from '../domain/workload-state';
import { applyFact } from './change';
import type { Database, Queryable } from './database';
import { lockLanesAgain, reenterLanes } from './enter-lanes';
import { routeAgain } from './routing';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** What an operator can ask of a workload. `resolve` states the outcome of a lost one. */
export type OperatorAction =
  { action: 'cancel' | 'approve' | 'deny' | 'redeliver' } | { action: 'resolve'; outcome: TerminalStatus };

export interface OperatorOrder {
  tenantId: string;
  workloadId: string;
  /** Who, e.g. `token:<id>`. */
  actor: string;
  /** Why, in the operator's words; kept in the audit. */
  reason: string;
}

const FACTS = {
  cancel: { type: 'cancelled' },
  approve: { type: 'approved' },
  deny: { type: 'approval_denied' },
  redeliver: { type: 'redelivered' },
} as const satisfies Record<string, Fact>;

/**
 * Carries out an operator's action under the workload's lock. Another tenant's workload is `not_found`; an action that the
 * state does not allow is `workload.state_conflict`; redelivery while another workload holds the dedupe key is `dedupe.held`.
 */
export async function operate(db: Database, order: OperatorOrder, action: OperatorAction): Promise<WorkloadRow> {
  return db.transaction((tx) => operateWithin(tx, order, action));
}

/** {@link operate} inside a transaction of the caller's. */
export async function operateWithin(tx: Queryable, order: OperatorOrder, action: OperatorAction): Promise<WorkloadRow> {
  if (action.action === 'redeliver') await lockLanesAgain(tx, order.workloadId);
  const locked = await lockWorkload(tx, order.workloadId);
  if (!locked || locked.tenant_id !== order.tenantId) throw new Problem('not_found', 'No such workload.');
  const again = action.action === 'redeliver' && isRedeliverable(locked.state);
  const row = again ? await routeAgain(tx, locked) : locked;
  const fact = await factOf(tx, row, action);
  const change = await applyFact(tx, row, fact, {
    actor: order.actor,
    wake: true,
    detail: { action: action.action, operator_reason: order.reason },
  });
  if (change.verdict === 'conflict') {
    throw new Problem(
      'workload.state_conflict',
      `A workload that is ${row.state} cannot be changed by ${action.action}.`,
      {
        extra: { state: row.state, why: change.reason },
      },
    );
  }
  if (action.action === 'redeliver') await reclaimKey(tx, row);
  return change.row;
}

async function factOf(tx: Queryable, row: WorkloadRow, action: OperatorAction): Promise<Fact> {
  if (action.action === 'resolve') return { type: 'resolved', outcome: action.outcome };
  const fact = FACTS[action.action];
  return fact.type === 'redelivered' && isRedeliverable(row.state)
    ? { ...fact, gate: await reenterLanes(tx, row) }
    : fact;
}

/** A redelivered workload needs its dedupe key again; it is refused while another one holds it. */
async function reclaimKey(tx: Queryable, row: WorkloadRow): Promise<void> {
  const [decision] = await tx.query<{ dedupe_key: string | null; rule: string | null; body: string | null }>(
    'SELECT d.dedupe_key, d.rule, e.body FROM decisions d JOIN events e USING (workload_id) WHERE d.workload_id = $1',
    [row.workload_id],
  );
  if (!decision?.rule || row.terms === null || decision.body === null) {
    throw new Problem('workload.state_conflict', 'This workload has nothing that could be delivered.', {
      extra: { state: row.state },
    });
  }
  const { dedupe } = JSON.parse(decision.rule) as RuleSnapshot;
  // With another mode the lanes see to it.
  if (decision.dedupe_key === null || (dedupe?.on_duplicate ?? 'drop') !== 'drop') return;
  const holder = await claimDedupeKey(tx, row, decision.dedupe_key, dedupe?.window ?? 0);
  if (holder !== null) {
    throw new Problem('dedupe.held', 'Another workload holds the dedupe key.', { extra: { held_by: holder } });
  }
}
