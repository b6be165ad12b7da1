import type { CompatibilityPolicy } from '../contracts/compatibility';
import { Problem, type ProblemItem } from '../contracts/problems';
import type { WorkerDuty, WorkerState } from '../contracts/terminology';
import type { Heartbeat } from '../contracts/worker-protocol';
import { incompatibility, incompatibilitySentence } from '../domain/compatibility';
import { declaredTogether } from '../domain/eligibility';
import { redacted } from '../domain/redact';
import { dutyOf, moveWorker, type WorkerMove } from '../domain/worker-moves';
import type { Database, Queryable } from './database';
import { failuresOf, MOST_FAILURES } from './worker-failures';
import { orderWorker } from './worker-orders';
import type { WorkerPrincipal } from './workers';

/** What the control plane wants of a worker. */
export interface WorkerStanding {
  status: WorkerState;
  max_open_deliveries: number;
  duty: WorkerDuty;
  /** Units that it holds yet: live leases and open deliveries of OpenCrow. */
  open_work: number;
}

/** The most of an error's summary that is kept, characters. */
const MAX_SUMMARY_CHARS = 1024;

interface Heard {
  status: WorkerState;
  /** What it was before it became unhealthy. */
  unhealthy_from: WorkerState | null;
  max_open_deliveries: number;
  open_work: number;
  version: string | null;
  runtime_version: string | null;
  protocol_version: number | null;
  checkpoint_schemas: number[];
  event_contracts: number[];
  capabilities: unknown;
  pool_status: string;
  pool_capabilities: unknown;
  compatibility: CompatibilityPolicy | null;
  auto_activate: boolean;
  auto_recover: boolean;
  /** It has not lost too much lately. */
  well: boolean;
}

/**
 * Notes that a worker lives and what it says of itself, moves it where its pool's policy says so, and tells it what to do. By the
 * ledger's clock. What a heartbeat leaves out of its declarations stays as it was declared. Problems: `heartbeat.out_of_order`
 * (409) for a sequence below the last one under this credential, which changes nothing; `worker.version_incompatible` (409) where
 * the pool rejects those that do not fit: what it declared is kept, so that it is given no work, but it was not heard of.
 */
export async function heartbeat(db: Database, principal: WorkerPrincipal, told: Heartbeat): Promise<WorkerStanding> {
  const heard = await note(db, principal, told);
  if (!heard) throw await whyNotHeard(db, principal, told);
  const faults = heard.compatibility === null ? [] : faultsOf(heard);
  if (faults.length > 0 && (heard.compatibility!.on_incompatible ?? 'reject') === 'reject') {
    throw await rejected(db, principal, incompatible(principal, faults));
  }
  if (heard.compatibility !== null) {
    await db.query('UPDATE workers SET last_heartbeat_at = clock_timestamp() WHERE worker_id = $1', [
      principal.workerId,
    ]);
  }
  const { max_open_deliveries, open_work } = heard;
  const status = await movedByPolicy(db, principal.workerId, heard, faults);
  const duty = dutyOf(status);
  // It would be refused whatever it claims: it waits, and hears by a heartbeat when the pool is active again.
  return {
    status,
    max_open_deliveries,
    duty: duty === 'work' && heard.pool_status !== 'active' ? 'wait' : duty,
    open_work,
  };
}

/** A heartbeat of a pool that asks for nothing is one statement. Another one has been heard only when it was judged. */
const NOTE = `
UPDATE workers w SET
  last_heartbeat_at = CASE WHEN p.compatibility IS NULL THEN clock_timestamp() ELSE w.last_heartbeat_at END,
  heartbeat_credential_id = $2,
  heartbeat_sequence = coalesce($3::bigint, CASE WHEN w.heartbeat_credential_id = $2 THEN w.heartbeat_sequence END),
  version = coalesce($4, w.version), runtime_version = coalesce($5, w.runtime_version),
  protocol_version = coalesce($6, w.protocol_version), capabilities = coalesce($7::jsonb, w.capabilities),
  checkpoint_schemas = coalesce($8, w.checkpoint_schemas), event_contracts = coalesce($9, w.event_contracts),
  region = coalesce($10, w.region), current_load = $11, active_work_ids = $12, last_error_code = $13,
  last_error_summary = $14, executors = $15
FROM pools p
WHERE w.worker_id = $1 AND p.pool_id = w.pool_id AND w.status NOT IN ('retired', 'revoked')
  AND ($3::bigint IS NULL OR w.heartbeat_credential_id IS DISTINCT FROM $2 OR w.heartbeat_sequence IS NULL
    OR $3::bigint >= w.heartbeat_sequence)
RETURNING w.status, w.unhealthy_from, w.max_open_deliveries, w.version, w.runtime_version, w.protocol_version, w.checkpoint_schemas,
  w.event_contracts, w.capabilities, p.status AS pool_status, p.capabilities AS pool_capabilities, p.compatibility,
  p.auto_activate, p.auto_recover,
  w.status <> 'unhealthy' OR ${failuresOf('$1')} < ${MOST_FAILURES} AS well,
  (SELECT count(*)::int FROM (
     SELECT work_id FROM leases WHERE worker_id = $1 AND closed_at IS NULL AND expires_at > clock_timestamp()
     UNION SELECT workload_id FROM deliveries
     WHERE worker_id = $1 AND executor = 'opencrow' AND slot_until > clock_timestamp()) held) AS open_work`;

async function note(db: Queryable, principal: WorkerPrincipal, told: Heartbeat): Promise<Heard | undefined> {
  const { last_error_summary: summary } = told;
  const [heard] = await db.query<Heard>(NOTE, [
    principal.workerId,
    principal.credentialId,
    told.sequence ?? null,
    told.version ?? null,
    told.runtime_version ?? null,
    told.protocol_version ?? null,
    told.capabilities === undefined ? null : JSON.stringify(told.capabilities),
    told.checkpoint_schemas ?? null,
    told.event_contracts ?? null,
    told.region ?? null,
    told.current_load ?? 0,
    told.active_work_ids ?? [],
    told.last_error_code ?? null,
    summary === undefined ? null : redacted(summary, MAX_SUMMARY_CHARS),
    told.executors ?? null,
  ]);
  return heard;
}

async function whyNotHeard(db: Database, principal: WorkerPrincipal, { sequence }: Heartbeat): Promise<Problem> {
  const [worker] = await db.query<{ status: WorkerState; last: number | null }>(
    'SELECT status, heartbeat_sequence::float8 AS last FROM workers WHERE worker_id = $1',
    [principal.workerId],
  );
  if (!worker || worker.status === 'retired' || worker.status === 'revoked') {
    return new Problem('auth.required', 'The worker is retired or revoked.');
  }
  const detail = `The heartbeat is number ${sequence ?? 0}, and ${worker.last ?? 0} came before under this credential.`;
  return rejected(db, principal, new Problem('heartbeat.out_of_order', detail, { extra: { last: worker.last } }));
}

const faultsOf = ({ compatibility, capabilities, pool_capabilities: pools, ...declared }: Heard): ProblemItem[] =>
  incompatibility(compatibility, { ...declared, flags: [...declaredTogether(pools, capabilities).flags] });

const incompatible = ({ poolId }: WorkerPrincipal, errors: ProblemItem[]): Problem =>
  new Problem(
    'worker.version_incompatible',
    `The worker does not fit pool ${poolId}: ${incompatibilitySentence(errors)}.`.slice(0, 500),
    { errors },
  );

/** Tells the audit of a refused heartbeat, at most once a minute of each code. Returns the refusal. */
async function rejected(db: Queryable, { workerId }: WorkerPrincipal, problem: Problem): Promise<Problem> {
  await db.query(
    `WITH noted AS (
       UPDATE workers SET rejections_noted = rejections_noted || jsonb_build_object($2::text, clock_timestamp())
       WHERE worker_id = $1
         AND coalesce((rejections_noted ->> $2)::timestamptz < clock_timestamp() - interval '1 minute', true)
       RETURNING worker_id, pool_id, tenant_id
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     SELECT tenant_id, 'worker.heartbeat_rejected', 'worker:' || worker_id, jsonb_strip_nulls(jsonb_build_object(
       'worker_id', worker_id, 'pool_id', pool_id, 'code', $2::text, 'fields', $3::jsonb)) FROM noted`,
    [workerId, problem.code, problem.errors ? JSON.stringify(problem.errors.map(({ pointer }) => pointer)) : null],
  );
  return problem;
}

/** Where the pool's policy wants a worker that was heard of, and why; null: where it is. */
function policyMove(heard: Heard, faults: readonly ProblemItem[]): { move: WorkerMove; reason: string } | null {
  if (faults.length > 0) {
    return { move: heard.compatibility!.on_incompatible === 'drain' ? 'drain' : 'pause', reason: 'incompatible' };
  }
  if (heard.pool_status !== 'active') return null;
  if (heard.status === 'pending' && heard.auto_activate) return { move: 'activate', reason: 'auto_activate' };
  if (heard.status === 'unhealthy' && heard.auto_recover && heard.well)
    return { move: heard.unhealthy_from === 'draining' ? 'drain' : 'recover', reason: 'auto_recover' };
  return null;
}

/** Moves the worker as its pool's policy says, if its state allows that. Returns its state after it. */
async function movedByPolicy(
  db: Database,
  workerId: string,
  heard: Heard,
  faults: readonly ProblemItem[],
): Promise<WorkerState> {
  const wanted = policyMove(heard, faults);
  if (wanted === null || 'forbidden' in moveWorker(heard.status, wanted.move)) return heard.status;
  try {
    const order = { actor: 'policy', reason: wanted.reason };
    return (await db.transaction((tx) => orderWorker(tx, workerId, wanted.move, order))).status;
  } catch (error) {
    // Somebody else moved it in between.
    if (!(error instanceof Problem) || error.code !== 'worker.state_conflict') throw error;
    return error.extra!.state as WorkerState;
  }
}
