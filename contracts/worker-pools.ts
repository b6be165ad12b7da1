import { z } from 'zod';
import { compatibilityPolicy } from './compatibility';
import { slug, storableText } from './ids';
import { capabilitiesObject, region } from './managed-workers';
import { POOL_MODES, POOL_STATES, WORKER_STATES } from './terminology';

/** Modes that there may be one day, and why there are none yet. */
const DEFERRED_MODES = ['customer_hosted', 'hybrid'];

/** Why a pool cannot have this mode, or null when it can. */
export function modeRefusal(mode: unknown): string | null {
  if ((POOL_MODES as readonly unknown[]).includes(mode)) return null;
  return DEFERRED_MODES.includes(mode as string)
    ? `${String(mode)} pools are refused: that workers on a customer's hosts can be trusted with other people's work is yet to be reviewed`
    : `must be ${POOL_MODES.join(' or ')}`;
}

/** Who operates a pool's workers. */
const poolMode = z.enum(POOL_MODES, { error: ({ input }) => modeRefusal(input) ?? undefined });

/** Units or workers at most; 0 and null: any number. */
const most = z.int().min(0).max(1_000_000).nullable();

const terms = {
  name: storableText(256).min(1),
  region: region.nullable().optional(),
  capabilities: capabilitiesObject.nullable().optional(),
  /** Workers that are neither retired nor revoked, at most. */
  max_workers: most.optional(),
  /** Units of work that its workers hold at once, at most. */
  max_concurrent_work: most.optional(),
  /** A worker's first heartbeat makes it active. Only of self-hosted pools. */
  auto_activate: z.boolean().optional(),
  /** An unhealthy worker's next good heartbeat makes it active again. */
  auto_recover: z.boolean().optional(),
  /** Which workers fit; null: all. */
  compatibility: compatibilityPolicy.nullable().optional(),
  /** The tenants it serves; null: all. Only operators say it; a tenant's own pool serves that tenant. */
  tenants: z.array(slug).min(1).max(1000).nullable().optional(),
};

/** `POST /api/admin/worker-pools`. */
export const newPool = z
  .strictObject({
    /** Part of its task queue's name. Default: one is made, `mwp_…`. */
    pool_id: slug.optional(),
    mode: poolMode,
    status: z.enum(['active', 'paused']).optional(),
    ...terms,
  })
  .meta({ id: 'NewWorkerPool' });
export type NewPool = z.infer<typeof newPool>;

/** `POST /api/admin/worker-pools/{pool_id}/update`: what is absent stays, null clears. */
export const poolUpdate = z
  .strictObject({
    /** Cannot be changed: any but the pool's own is refused. */
    mode: poolMode.optional(),
    /** `retired` is final. */
    status: z.enum(POOL_STATES).optional(),
    ...terms,
    name: terms.name.optional(),
  })
  .meta({ id: 'WorkerPoolUpdate' });
export type PoolUpdate = z.infer<typeof poolUpdate>;

const summary = {
  pool_id: z.string(),
  name: z.string(),
  status: z.enum(POOL_STATES),
  region: z.string().nullable(),
  /** How many workers there are in each state; states without any are absent. */
  workers: z.partialRecord(z.enum(WORKER_STATES), z.int()),
};

/** What a tenant sees of an operators' pool that serves it. */
export const poolSummary = z.object(summary).meta({ id: 'WorkerPoolSummary' });

/** A pool as those who manage it see it. */
export const poolRecord = z
  .object({
    ...summary,
    /** Whose admins manage it; null: operators alone. */
    tenant_id: z.string().nullable(),
    mode: z.enum(POOL_MODES),
    tenants: z.array(z.string()).nullable(),
    capabilities: z.record(z.string(), z.unknown()),
    max_workers: z.int().nullable(),
    max_concurrent_work: z.int().nullable(),
    auto_activate: z.boolean(),
    auto_recover: z.boolean(),
    compatibility: compatibilityPolicy.nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'WorkerPool' });
export type PoolRecord = z.infer<typeof poolRecord>;
export type PoolSummary = z.infer<typeof poolSummary>;
