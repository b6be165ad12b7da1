import type { JsonValue, PostedEvent } from '../contracts/events';
import { debugPoint } from '../domain/debug-point';
import { canonicalJson } from '../domain/identity';
import type { Accepted } from './accept';
import { acceptBatch, acceptTogether } from './accept-batch';
import type { Database, Queryable } from './database';
import { notingDenials } from './denials';
import {
  lockState,
  meets,
  preconditionFailed,
  writeState,
  type LockedState,
  type StateCondition,
  type StateName,
} from './source-state';
import { stateOf } from './source-state-queries';

/** A page of a source: its events, and where the source's state goes with them. */
export interface Page {
  events: readonly PostedEvent[];
  state: StateName;
  condition: StateCondition;
  value: JsonValue;
}

/** What became of a page. */
export interface PageOutcome {
  accepted: Accepted[];
  /** The state's version now. */
  version: number;
  /** It had been committed before: nothing was changed now. */
  replayed: boolean;
}

/**
 * Accepts a page's events and moves the source's state on, both or nothing. Problems: `state.precondition_failed` when somebody
 * else moved the state, `event.conflict`, `quota.exceeded`, `entitlement.lapsed`, `state.too_many_keys`.
 *
 * A page whose answer was lost is posted again with the old condition. It is told from a lost race by what it says: if the state
 * has just this value and the ledger all of these events, all that was asked for is so already.
 */
export async function acceptWithState(db: Database, page: Page, actor: string): Promise<PageOutcome> {
  const { events, state, condition, value } = page;
  const accept = async (tx: Queryable): Promise<PageOutcome> => {
    const locked = await lockState(tx, state);
    if (!meets(locked, condition)) return committedBefore(tx, locked, page, actor);
    const accepted = await acceptTogether(tx, state.tenantId, events, actor, '/events');
    const { version } = await writeState(tx, locked, value, actor);
    debugPoint('batch-uncommitted');
    return { accepted, version, replayed: false };
  };
  return notingDenials(db, { tenantId: state.tenantId, actor }, () => db.transaction(accept));
}

/** Without events nothing tells the caller's own commit from another's, so it is a lost race. */
async function committedBefore(
  tx: Queryable,
  locked: LockedState,
  { events, state, value }: Page,
  actor: string,
): Promise<PageOutcome> {
  const present = await stateOf(tx, state);
  const isSame = present !== null && canonicalJson(present.value as JsonValue) === canonicalJson(value);
  if (!isSame || locked.version === null || events.length === 0) throw preconditionFailed(locked);
  const accepted = (await acceptBatch(tx, state.tenantId, events, actor)).filter(
    (each): each is Accepted => each !== undefined && 'duplicate' in each && each.duplicate,
  );
  // What was accepted just now is taken back with the transaction.
  if (accepted.length < events.length) throw preconditionFailed(locked);
  return { accepted, version: locked.version, replayed: true };
}
