import type { CompatibilityPolicy } from '../contracts/compatibility';
import type { ExecutorKind, PoolState, WorkerState } from '../contracts/terminology';
import type { PoolFacts, WorkerFacts, WorkNeeds } from '../domain/eligibility';
import type { WorkloadRow } from './workload-row';

/** Condition on a worker `k`: it was heard of within the last minute. */
export const HEARD_LATELY = "k.last_heartbeat_at > clock_timestamp() - interval '1 minute'";

/** Columns of a worker `k` and its pool `p` that say which work it may have; see {@link ServerColumns}. */
export const SERVER_COLUMNS = `k.worker_id AS server_id, k.executors, k.status AS worker_status, k.region AS worker_region,
  k.checkpoint_schemas, k.event_contracts, k.version, k.runtime_version, k.protocol_version,
  p.pool_id AS server_pool, p.status AS pool_status, p.tenants, p.region AS pool_region, p.compatibility`;

/** A worker with its pool, as {@link SERVER_COLUMNS} reads them. */
export interface ServerColumns {
  server_id: string;
  executors: ExecutorKind[] | null;
  worker_status: WorkerState;
  worker_region: string | null;
  checkpoint_schemas: number[];
  event_contracts: number[];
  version: string | null;
  runtime_version: string | null;
  protocol_version: number | null;
  server_pool: string;
  pool_status: PoolState;
  tenants: string[] | null;
  pool_region: string | null;
  compatibility: CompatibilityPolicy | null;
  /** Null where nothing asks for them. */
  worker_capabilities: unknown;
  pool_capabilities: unknown;
}

export const needsOf = (
  row: Pick<WorkloadRow, 'tenant_id' | 'executor' | 'requires' | 'checkpoint_schema'>,
): WorkNeeds => ({
  tenantId: row.tenant_id,
  executor: row.executor,
  requires: row.requires,
  checkpointSchema: row.checkpoint_schema,
});

export const poolFactsOf = (columns: ServerColumns): PoolFacts => ({
  poolId: columns.server_pool,
  status: columns.pool_status,
  tenants: columns.tenants,
  region: columns.pool_region,
  capabilities: columns.pool_capabilities,
  compatibility: columns.compatibility,
});

export const workerFactsOf = (columns: ServerColumns): WorkerFacts => ({
  workerId: columns.server_id,
  executors: columns.executors,
  region: columns.worker_region,
  capabilities: columns.worker_capabilities,
  version: columns.version,
  runtime_version: columns.runtime_version,
  protocol_version: columns.protocol_version,
  checkpoint_schemas: columns.checkpoint_schemas,
  event_contracts: columns.event_contracts,
});
