import type { Queryable } from './database';

/**
 * Key of the lock, in SQL, that whoever claims in a pool shares and whoever changes the pool has alone: no claim that began before a pause is
 * committed after it. Advisory, since locks of rows let sharers overtake whoever waits for them. In the order of locks it comes before the pool's row.
 */
export const poolGate = (poolId: string): string =>
  `hashtextextended(current_schema() || ' pool ' || ${poolId}::text, 0)`;

/** Waits for the claims under way in a pool, and keeps others out until the transaction ends. */
export async function closePoolGate(tx: Queryable, poolId: string): Promise<void> {
  await tx.query(`SELECT pg_advisory_xact_lock(${poolGate('$1')})`, [poolId]);
}
