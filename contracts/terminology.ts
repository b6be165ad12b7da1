/**
 * The words of the service, as closed sets. Every other module uses exactly these.
 *
 * source event  a fact posted by a connector; identity (tenant, source, event_id)
 * policy        a tenant's versioned rules; its SHA-256 is the policy hash
 * decision      what policy said of one event, immutable
 * dedupe claim  ownership of a rule's dedupe key by one workload
 * workload      the unit of work for one event
 * delivery      one handing over of a workload to an executor, numbered 1, 2, …
 * lease         the right to act for a workload: worker, epoch, secret token, expiry
 * pool          a named set of workers behind one Temporal task queue
 * worker        an enrolled process that polls a pool's queue
 * executor      the adapter that makes the work happen
 * lifecycle     what an executor reports of a delivery
 */

/** What policy said of one event. `duplicate` is said by the dedupe claim of the matched rule. */
export const DECISIONS = ['dispatch', 'ignore', 'deny', 'hold', 'duplicate'] as const;
export type Decision = (typeof DECISIONS)[number];

/** Every state a workload can be in, in the order a workload may pass through them. */
export const WORKLOAD_STATES = [
  'accepted',
  'held',
  'queued',
  'delivered',
  'running',
  'preempted',
  'completed',
  'failed',
  'aborted',
  'dropped',
  'refused',
  'cancelled',
  'lost',
  'dead',
  'duplicate',
  'ignored',
  'denied',
] as const;
export type WorkloadState = (typeof WORKLOAD_STATES)[number];

/** What an executor can report. `dropped` is accepted though no known OpenCrow sends it. */
export const LIFECYCLE_STATUSES = ['running', 'completed', 'failed', 'aborted', 'preempted', 'dropped'] as const;
export type LifecycleStatus = (typeof LIFECYCLE_STATUSES)[number];

/** Lifecycle statuses after which the executor does nothing more for that delivery. */
export const TERMINAL_STATUSES = ['completed', 'failed', 'aborted', 'dropped'] as const;
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];

/** `managed`: a pool worker of somebody's own making, in any language. */
export const EXECUTORS = ['opencrow', 'node', 'container', 'remote', 'ci', 'managed'] as const;
export type ExecutorKind = (typeof EXECUTORS)[number];

/** Executors that run a command and are done when it is: execution backends. */
export const COMMAND_EXECUTORS = ['node', 'container', 'remote', 'ci'] as const;
export type CommandExecutor = (typeof COMMAND_EXECUTORS)[number];
export const isCommandExecutor = (executor: string | null): executor is CommandExecutor =>
  (COMMAND_EXECUTORS as readonly (string | null)[]).includes(executor);

/** Executors whose worker renews its lease as long as it works. While OpenCrow works, the control plane does. */
export const LEASED_EXECUTORS = [...COMMAND_EXECUTORS, 'managed'] as const;
export type LeasedExecutor = (typeof LEASED_EXECUTORS)[number];
export const livesByItsLease = (executor: string | null): executor is LeasedExecutor =>
  (LEASED_EXECUTORS as readonly (string | null)[]).includes(executor);

/** The clocks a workload runs against; each is a rule's `deadlines` field, `hold` excepted. */
export const DEADLINES = ['hold', 'queued', 'start', 'run', 'resume', 'total', 'late'] as const;
export type DeadlineKind = (typeof DEADLINES)[number];

/** What a queued workload may wait for before it is offered, in the order in which it passes them. */
export const GATES = ['debounce', 'key', 'concurrency', 'rate'] as const;
export type Gate = (typeof GATES)[number];

/** How an event came to be covered by another one's workload. */
export const ABSORBED_HOW = ['dropped', 'coalesced', 'superseded', 'debounced'] as const;
export type AbsorbedHow = (typeof ABSORBED_HOW)[number];

/** Rights of an API token. `admin` is one tenant, `operator` is all tenants and the pools. */
export const TOKEN_SCOPES = [
  'events:write',
  'workloads:read',
  'workloads:write',
  'capabilities:authorize',
  'sources:write',
  'policy:write',
  'audit:read',
  'admin',
  'operator',
] as const;
export type TokenScope = (typeof TOKEN_SCOPES)[number];

/** Rights of a worker credential; it opens only its own worker's routes. */
export const WORKER_SCOPES = ['heartbeat', 'work.claim', 'work.renew', 'work.write', 'secret.reveal'] as const;
export type WorkerScope = (typeof WORKER_SCOPES)[number];

/** Who operates a pool's workers. `customer_hosted` and hybrid pools are refused: see `contracts/worker-pools.ts`. */
export const POOL_MODES = ['self_hosted', 'saas_operated'] as const;

/** From and into a pool that is not active nothing is claimed and nobody is registered. */
export const POOL_STATES = ['active', 'paused', 'retired'] as const;
export type PoolState = (typeof POOL_STATES)[number];

export const WORKER_STATES = ['pending', 'active', 'draining', 'paused', 'unhealthy', 'retired', 'revoked'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

/** What a worker's process has to do in each state; it learns it with its next heartbeat. */
export const DUTIES = ['work', 'wait', 'drain', 'pause', 'stop'] as const;
/**
 * - `work`: take work
 * - `wait`: take nothing new; what is held goes on
 * - `drain`: take nothing new, finish what is held, then exit with 0
 * - `pause`: take nothing new and renew nothing
 * - `stop`: end what is held at once and exit
 */
export type WorkerDuty = (typeof DUTIES)[number];

/** What became of a lease. `expired` is also one that ran out and that nobody took over. */
export const LEASE_STATES = ['held', 'completed', 'failed', 'released', 'cancelled', 'expired'] as const;
export type LeaseStatus = (typeof LEASE_STATES)[number];
