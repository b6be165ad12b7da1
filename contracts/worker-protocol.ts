import { z } from 'zod';
import type { OfferedCapability } from './capabilities';
import { executionEnvelope, executionHandle, type ExecutionEnvelope, type ExecutionHandle } from './execution';
import { schemaVersions } from './compatibility';
import { storableText } from './ids';
import { capabilitiesObject, region } from './managed-workers';
import type { RunSpec } from './run';
import { DUTIES, EXECUTORS, WORKER_STATES, type ExecutorKind, type WorkloadState } from './terminology';
import type { SourceEvent } from './events';

/**
 * The HTTP protocol between a pool worker and the api. Every route is below `/api/workers/{worker_id}`; the bearer is the
 * worker's credential. Lease routes take the lease token in the header `Lease-Token`.
 */

/** `POST claims`: the right to act for one workload. */
export const claimRequest = z.strictObject({
  work_id: z.string().max(64),
  /**
   * Random per attempt, made in memory only. A claim repeated with it, because its answer was lost, is the same attempt;
   * without it a repeat before intent counts as an attempt that failed.
   */
  claim_key: z.string().min(16).max(64).optional(),
  /**
   * The worker saw its executor gone and back since it last said so: closes a suspect slot, and marks open deliveries suspect
   * until something is heard of them.
   */
  executor_restarted: z.boolean().optional(),
});
export type ClaimRequest = z.infer<typeof claimRequest>;

/** Answer 201 of `POST claims`. Refusals are problems: see {@link CLAIM_REFUSALS}. */
export interface Claim {
  work_id: string;
  tenant_id: string;
  epoch: number;
  /** Secret; shown once. */
  lease_token: string;
  expires_at: string;
  /** Milliseconds until `expires_at` by the ledger's clock. */
  ttl_ms: number;
  executor: ExecutorKind;
  /** Number and wire id that an intent recorded under this lease will get. */
  delivery_number: number;
  delivery_id: string;
  event: SourceEvent;
  /** The rule's `trigger` block as it was at admission. */
  trigger: { prompt: string | null; include: string[]; response_policy: string | null };
  /** What this delivery may ask of hooks; absent when nothing is granted. A later claim's token takes the place of this one. */
  capability?: {
    /** Secret; shown once. Goes into the trigger line and nowhere else. */
    token: string;
    offered: OfferedCapability[];
  };
  /** The command to run; only for command executors. */
  run?: RunSpec;
  /**
   * A runner has the job already, taken over from a worker that is gone: no intent is to be recorded and nothing submitted, only
   * the job's end waited for. `target` is what was reported of it.
   */
  resume?: { target: ExecutionHandle };
  /** Where a runner may tell that its job is done, and the secret it signs with; only with `completion: webhook`. */
  runner_callback?: {
    /** Below the api's own address. */
    path: string;
    /** Secret, `whsec_…`; of this one delivery. */
    secret: string;
  };
  /** Events that this work covers beside its own, by coalesce or debounce; absent when there are none. */
  absorbed?: AbsorbedEvents | undefined;
}

/** How many events are covered (10,000 at most), and the ids of up to 200 of them, the newest first. */
export interface AbsorbedEvents {
  count: number;
  event_ids: string[];
}

/**
 * Problem codes a claim can be refused with, and what the worker does:
 * - `wait`: keep the task, heartbeat, ask again after Retry-After
 * - `hand_back`: fail the task retryably with a delay; no attempt is counted
 * - `done`: complete the task as `not_needed`; the ledger needs nothing from it
 */
export const CLAIM_REFUSALS = {
  'capacity.worker': 'wait',
  'capacity.suspect': 'wait',
  'capacity.pool': 'wait',
  'lease.held': 'wait',
  'capacity.tenant': 'hand_back',
  'quota.exceeded': 'hand_back',
  'entitlement.lapsed': 'hand_back',
  'worker.pending': 'hand_back',
  'worker.draining': 'hand_back',
  'worker.paused': 'hand_back',
  'worker.unhealthy': 'hand_back',
  'worker.retired': 'hand_back',
  'worker.revoked': 'hand_back',
  'worker.wrong_pool': 'hand_back',
  'worker.wrong_tenant': 'hand_back',
  'worker.incompatible': 'hand_back',
  'pool.not_active': 'hand_back',
  'auth.required': 'hand_back',
  'auth.scope_required': 'hand_back',
  'workload.not_needed': 'done',
  'delivery.maybe_written': 'done',
  not_found: 'done',
} as const;

/** `POST leases/{work_id}/intent`: "I am about to hand it over". Answered once per `intent_key`; the same key gets the same answer. */
export const intentRequest = z.strictObject({
  /** Random per attempt, made in memory only, so that a restarted process can never replay it. */
  intent_key: z.string().min(16).max(64),
});
export interface IntentGranted {
  delivery_number: number;
  delivery_id: string;
  /** The lease now lives until this time: the delivery's start deadline; of a command, until it is renewed. */
  expires_at: string;
  /** Milliseconds until `expires_at` by the ledger's clock. Nothing may be written after it. */
  ttl_ms: number;
}

/**
 * `POST leases/{work_id}/complete`: what became of the write.
 * `written`: the whole line is in the pipe. `unknown`: it may be (error in mid-write, restart after intent): never repeated.
 */
export const completeRequest = z.strictObject({
  write: z.enum(['written', 'unknown']),
  detail: storableText(200).optional(),
});

/**
 * `POST leases/{work_id}/renew`: a command or managed work is under way. Sent every third of the lease's life; 409 `lease.stale` when the lease is
 * over or the workload was cancelled: end the command.
 */
export const renewRequest = z.strictObject({
  /** The command has been started. Default: only renews. */
  running: z.boolean().optional(),
  /** What the backend's target told of itself, e.g. a runner's job id. Kept before anything is waited for. */
  target: executionHandle.optional(),
});
export interface LeaseRenewed {
  state: WorkloadState;
  expires_at: string;
  /** Milliseconds until `expires_at` by the ledger's clock. */
  ttl_ms: number;
  /** The runner has called and said that its job is done: ask it now. */
  runner_done?: true;
}

/** Sizes and digests of what a command printed, as the worker counted them. */
const printed = z.strictObject({ size: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/**
 * `POST leases/{work_id}/finish`: the command has ended, or was not run. The outcome follows the envelope: `completed`, `failed`,
 * `refused`, or `lost` where it says `outcomeUnknown`. At most 3 MiB. A repeat is answered and changes nothing.
 */
export const finishRequest = z.strictObject({
  envelope: executionEnvelope,
  /** The worker ended it before its time, so that its outcome is not known. */
  interrupted: z.literal('worker_stopped').optional(),
  output: z.strictObject({ stdout: printed.optional(), stderr: printed.optional() }).optional(),
});
export type FinishRequest = Omit<z.infer<typeof finishRequest>, 'envelope'> & { envelope: ExecutionEnvelope };

/** `POST deliveries/over`: which of these runs nobody waits for any more, so that what is left of them can be removed. */
export const overRequest = z.strictObject({ run_keys: z.array(z.string().max(64)).min(1).max(500) });
export interface OverAnswer {
  /** Those of the asked ones that are deliveries of this service and that nobody waits for. Others are not judged. */
  over: string[];
}

/**
 * `POST leases/{work_id}/release`: nothing was handed over, proven. Gives the delivery number and the attempt back. Where a runner
 * has the job, only the lease: another worker goes on waiting.
 */
export const releaseRequest = z.strictObject({
  /** Short code: `ENXIO`, `EAGAIN`, `ENOENT`, `not_a_fifo`, `draining`, `cancelled`. */
  reason: storableText(64).min(1),
});

/** `POST leases/{work_id}/fail`: this workload cannot be handed over. `retryable: false` refuses it for good. */
export const failRequest = z.strictObject({
  code: z.string().regex(/^[a-z0-9_.]{1,64}$/),
  detail: storableText(500).optional(),
  retryable: z.boolean(),
});

/** Answer of every lease route but intent: where the workload stands now. */
export interface LeaseOutcome {
  state: WorkloadState;
  /** Milliseconds until the workload's next deadline, null when it has none. */
  wait_ms: number | null;
}

/** Time between two heartbeats that workers are asked for, milliseconds. */
export const HEARTBEAT_EVERY_MS = 15_000;

/** `POST heartbeat`. What it leaves out of its declarations (version to region) stays as it was declared before. */
export const heartbeatRequest = z.strictObject({
  /** Of the worker's program. */
  version: storableText(64).optional(),
  /** Of the runtime that it drives. */
  runtime_version: storableText(64).optional(),
  /** Of this protocol. */
  protocol_version: z.int().min(0).max(1_000_000).optional(),
  /** What it can do, beside what its pool says that all its workers can. */
  capabilities: capabilitiesObject.optional(),
  /** Schemas of checkpoints that it reads. */
  checkpoint_schemas: schemaVersions.optional(),
  /** Versions of events that it reads and writes. */
  event_contracts: schemaVersions.optional(),
  region: region.optional(),
  current_load: z.number().int().min(0).max(10_000).optional(),
  /** What it offers to do. Absent in workers before version 0.2: OpenCrow alone. */
  executors: z.array(z.enum(EXECUTORS)).max(EXECUTORS.length).optional(),
  active_work_ids: z
    .array(storableText(64).min(1))
    .max(500)
    .refine((list) => new Set(list).size === list.length, 'must hold each id once')
    .optional(),
  last_error_code: storableText(64).optional(),
  /** For people. What looks like a secret is taken out before it is kept. */
  last_error_summary: storableText(1024).optional(),
  /** Grows from heartbeat to heartbeat of one credential; one below the last is refused, `heartbeat.out_of_order`. */
  sequence: z.number().int().min(0).optional(),
  /** The worker saw its executor gone and back since it last said so: see `POST claims`. */
  executor_restarted: z.boolean().optional(),
});
export type Heartbeat = Omit<z.infer<typeof heartbeatRequest>, 'executor_restarted'>;

/** `GET /api/workers/{id}`: who am I. */
export const workerSelf = z.object({
  worker: z.object({
    worker_id: z.string(),
    pool_id: z.string(),
    status: z.enum(WORKER_STATES),
    /** Deliveries this worker may have open at once. */
    max_open_deliveries: z.number().int(),
  }),
});

/** Answer of `POST heartbeat`: what the worker is to do. */
export const heartbeatAnswer = z.object({
  worker: workerSelf.shape.worker.extend({
    duty: z.enum(DUTIES),
    /** Units that it holds yet: live leases and open deliveries of OpenCrow. */
    open_work: z.int(),
    /** When the next heartbeat is wanted, milliseconds. */
    heartbeat_every_ms: z.int(),
  }),
});
