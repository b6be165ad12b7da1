import type { ChainedRow } from '../domain/audit-chain';

/** The columns of {@link ChainedRow}, of an `audit` that is called `a`. */
export const CHAINED_COLUMNS = `coalesce(a.tenant_id, '-') AS chain, a.seq::text AS seq,
  to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, a.type, a.actor, a.workload_id, a.detail::text AS detail`;

/** An audit row with its place in the chain; without one while it is not sealed. */
export type SealedRow = ChainedRow & ({ position: string; hash: Buffer } | { position: null; hash: null });
