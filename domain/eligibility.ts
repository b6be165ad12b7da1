import type { CompatibilityPolicy } from '../contracts/compatibility';
import type { ProblemCode } from '../contracts/problems';
import type { Requirements } from '../contracts/requirements';
import type { ExecutorKind, PoolState } from '../contracts/terminology';
import { incompatibility, incompatibilitySentence, type DeclaredCompatibility } from './compatibility';

/** What pools and workers declare that they can do, as rules ask for it. */
export interface Capabilities {
  flags: ReadonlySet<string>;
  profiles: ReadonlySet<string>;
  providers: ReadonlySet<string>;
}

/** What a unit of work asks of the worker that gets it. */
export interface WorkNeeds {
  tenantId: string;
  /** Null before admission. */
  executor: ExecutorKind | null;
  requires: Requirements | null;
  /** The schema of its newest checkpoint. */
  checkpointSchema: number | null;
}

export interface PoolFacts {
  poolId: string;
  status: PoolState;
  /** The tenants it serves; null: all. */
  tenants: readonly string[] | null;
  region: string | null;
  /** As declared: an object of which only `flags`, `profiles` and `providers` are looked at. */
  capabilities: unknown;
  compatibility: CompatibilityPolicy | null;
}

export interface WorkerFacts extends Omit<DeclaredCompatibility, 'flags'> {
  workerId: string;
  /** What it offers; null when it never said. */
  executors: readonly ExecutorKind[] | null;
  region: string | null;
  capabilities: unknown;
}

/** Why a worker may not have a unit of work. */
export interface Ineligible {
  code: Extract<ProblemCode, 'pool.not_active' | 'worker.wrong_tenant' | 'worker.incompatible'>;
  detail: string;
  /** The same without the worker's name. */
  why: string;
}

/** What several declarations say together; what is no list of text declares nothing. */
export function declaredTogether(...declared: readonly unknown[]): Capabilities {
  return {
    flags: union(declared, 'flags'),
    profiles: union(declared, 'profiles'),
    providers: union(declared, 'providers'),
  };
}

function union(declared: readonly unknown[], field: string): ReadonlySet<string> {
  const lists = declared.map((one) => (typeof one === 'object' && one !== null ? (one as Fields)[field] : undefined));
  return new Set(lists.flatMap((list) => (Array.isArray(list) ? (list as unknown[]).filter(isText) : [])));
}

type Fields = Record<string, unknown>;
const isText = (value: unknown): value is string => typeof value === 'string';

/** What of the requirements is not declared, one phrase each; empty when all is met. */
export function unmet(requires: Requirements | null, has: Capabilities, region: string | null): string[] {
  if (requires === null) return [];
  const { flags = [], profile, provider, region: wanted } = requires;
  return [
    ...flags.filter((flag) => !has.flags.has(flag)).map((flag) => `flag ${flag}`),
    ...(profile === undefined || has.profiles.has(profile) ? [] : [`profile ${profile}`]),
    ...(provider === undefined || has.providers.has(provider) ? [] : [`provider ${provider}`]),
    ...(wanted === undefined || wanted === region ? [] : [`region ${wanted}`]),
  ];
}

/**
 * Why a worker of this pool may not be given this work, however much room there is; null when it may. What was not declared is
 * not met. Its own state and its credential are judged elsewhere.
 */
export function ineligibility(work: WorkNeeds, pool: PoolFacts, worker: WorkerFacts): Ineligible | null {
  if (pool.status !== 'active') return ineligible('pool.not_active', `Pool ${pool.poolId}`, `is ${pool.status}`);
  if (pool.tenants && !pool.tenants.includes(work.tenantId)) {
    return ineligible('worker.wrong_tenant', `Pool ${pool.poolId}`, "does not serve this workload's tenant");
  }
  const misfit = misfitOf(work, pool, worker);
  return misfit === null ? null : ineligible('worker.incompatible', `Worker ${worker.workerId}`, misfit);
}

/** Declarations are others' text: a sentence of them has its bounds. */
const MAX_WHY_CHARS = 400;

function ineligible(code: Ineligible['code'], who: string, why: string): Ineligible {
  const told = why.length > MAX_WHY_CHARS ? `${why.slice(0, MAX_WHY_CHARS)}…` : why;
  return { code, detail: `${who} ${told}.`, why: told };
}

function misfitOf(work: WorkNeeds, pool: PoolFacts, worker: WorkerFacts): string | null {
  if (worker.executors && work.executor && !worker.executors.includes(work.executor)) {
    return `does not offer ${work.executor}`;
  }
  if (work.checkpointSchema !== null && !worker.checkpoint_schemas.includes(work.checkpointSchema)) {
    return `does not read checkpoints of schema ${work.checkpointSchema}`;
  }
  if (work.requires === null && pool.compatibility === null) return null;
  const has = declaredTogether(pool.capabilities, worker.capabilities);
  const lacks = unmet(work.requires, has, worker.region ?? pool.region);
  if (lacks.length > 0) return `has not declared ${lacks.join(', ')}`;
  const faults = incompatibility(pool.compatibility, { ...worker, flags: [...has.flags] });
  return faults.length > 0 ? `does not fit its pool: ${incompatibilitySentence(faults)}` : null;
}
