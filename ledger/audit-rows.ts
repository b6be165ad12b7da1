import type { ChainedRow } from '../domain/audit-chain';

/** The columns of {@link ChainedRow}, of an `audit` that is called `a`. */
export const CHAINED_COLUMNS = `coalesce(a.tenant_id, '-') AS chain, a.seq::text AS seq,
  to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, a.type, a.actor, a.workload_id, a.detail::text AS detail`;

/**
 * Where rows of an `audit` that is called `a` can be without a seal. Rows from beyond this server's transactions came with a dump;
 * once a pass has noted this server they are sealed, and need not be looked at for ever.
 */
export const MAY_BE_UNSEALED = `a.xact >= audit_settled() AND a.xact < (
  SELECT CASE WHEN cluster = (SELECT system_identifier::text FROM pg_control_system())
    THEN pg_snapshot_xmax(pg_current_snapshot()) ELSE '18446744073709551615'::xid8 END FROM audit_sealer)`;

/** An audit row with its place in the chain; without one while it is not sealed. */
export type SealedRow = ChainedRow & ({ position: string; hash: Buffer } | { position: null; hash: null });
