import { onceForKey, type KeyedRequest } from '../ledger/idempotency';
import type { Queryable } from '../ledger/database';
import type { RouteDeps } from './app-deps';
import type { RouteAnswer } from './route';

/** What a request came to. */
export interface KeyedWork {
  status: number;
  body: object;
  /** What a repeat is answered with. Default: `body`. For answers with a secret, which is not kept. */
  repeated?: object;
  /** Called after the commit; of a repeat it is not. */
  committed?: () => void;
}

/** A request as {@link onceForKey} takes it, whose `Idempotency-Key` may be missing. */
export type MaybeKeyed = Omit<KeyedRequest, 'key'> & { key: string | undefined };

/** Does `work` in one transaction; with a key once, and a repeat gets what was kept of the answer. */
export async function maybeOnce(
  deps: RouteDeps,
  { key, ...request }: MaybeKeyed,
  work: (tx: Queryable) => Promise<KeyedWork>,
): Promise<RouteAnswer> {
  if (key === undefined) return done(await deps.db.transaction(work));
  let made: KeyedWork | undefined;
  const kept = await onceForKey(deps.db, { ...request, key }, async (tx) => {
    made = await work(tx);
    return { status: made.status, answer: JSON.stringify(made.repeated ?? made.body) };
  });
  if (!kept.replayed && made) return done(made);
  return { status: kept.status, body: kept.answer, headers: { 'Idempotent-Replayed': 'true' } };
}

function done({ status, body, committed }: KeyedWork): RouteAnswer {
  committed?.();
  return { status, body };
}
