import { z } from 'zod';
import type { OfferedCapability } from '../contracts/capabilities';
import type { JsonValue } from '../contracts/events';
import { executionHandle, type ExecutionHandle } from '../contracts/execution';
import { LIFECYCLE_EFFECTS } from '../contracts/lifecycle';
import { PROBLEMS, Problem, type ProblemCode } from '../contracts/problems';
import { runSpec } from '../contracts/run';
import { Secret } from '../contracts/secret';
import { EXECUTORS, WORKLOAD_STATES, type WorkloadState } from '../contracts/terminology';
import { heartbeatAnswer, type Claim, type OverAnswer } from '../contracts/worker-protocol';

/** The longest wait an answer can ask for, in milliseconds. */
const MAX_RETRY_AFTER_MS = 600_000;

/** What a worker shows to act under a lease. */
export interface Lease {
  workId: string;
  epoch: number;
  token: Secret;
}

/** The capabilities of one delivery. */
export interface GrantedCapability {
  /** Into the trigger line, and nowhere else. */
  token: Secret;
  offered: OfferedCapability[];
}

/** Where a runner may tell that its job is done. */
export interface RunnerCallback {
  /** Below the api's own address. */
  path: string;
  /** What it signs with. */
  secret: Secret;
}

/** A claim whose tokens have been put away. */
export type GrantedClaim = Omit<Claim, 'lease_token' | 'capability' | 'runner_callback'> & {
  lease: Lease;
  capability: GrantedCapability | null;
  runnerCallback: RunnerCallback | null;
};

const event = z.object({
  source: z.string(),
  action: z.string(),
  event_id: z.string(),
  subject: z.string().optional(),
  occurred_at: z.string().optional(),
  data: z.custom<Record<string, JsonValue>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  ),
});

/** Answer of `POST claims`. Fields this version does not know are passed over. */
export const claimAnswer = z
  .object({
    work_id: z.string(),
    tenant_id: z.string(),
    epoch: z.number(),
    lease_token: z.string().min(1),
    expires_at: z.string(),
    ttl_ms: z.number(),
    executor: z.enum(EXECUTORS),
    delivery_number: z.number(),
    delivery_id: z.string().min(1),
    event,
    trigger: z.object({
      prompt: z.string().nullable(),
      include: z.array(z.string()),
      response_policy: z.string().nullable(),
    }),
    capability: z
      .object({
        token: z.string().min(1),
        offered: z.array(z.object({ hook: z.string(), operations: z.array(z.string()) })),
      })
      .optional(),
    run: runSpec.optional(),
    resume: z.object({ target: executionHandle.transform((handle) => handle as ExecutionHandle) }).optional(),
    runner_callback: z.object({ path: z.string(), secret: z.string().min(1) }).optional(),
    absorbed: z.object({ count: z.number(), event_ids: z.array(z.string()) }).optional(),
  })
  .transform(({ lease_token, capability, runner_callback, run, resume, ...claim }): GrantedClaim => {
    return {
      ...claim,
      ...(run ? { run } : {}),
      ...(resume ? { resume } : {}),
      lease: { workId: claim.work_id, epoch: claim.epoch, token: new Secret(lease_token) },
      capability: capability ? { ...capability, token: new Secret(capability.token) } : null,
      runnerCallback: runner_callback ? { ...runner_callback, secret: new Secret(runner_callback.secret) } : null,
    };
  });

export const intentAnswer = z.object({
  delivery_number: z.number(),
  delivery_id: z.string().min(1),
  expires_at: z.string(),
  ttl_ms: z.number(),
});

export const leaseOutcomeAnswer = z.object({ state: z.enum(WORKLOAD_STATES), wait_ms: z.number().nullable() });

export const renewAnswer = z.object({
  state: z.enum(WORKLOAD_STATES),
  expires_at: z.string(),
  ttl_ms: z.number(),
  runner_done: z.literal(true).optional().catch(undefined),
});

export const overAnswer: z.ZodType<OverAnswer> = z.object({ over: z.array(z.string()) });

export const lifecycleAnswer = z.object({
  results: z.array(z.object({ effect: z.enum(LIFECYCLE_EFFECTS), state: z.string().optional() })),
});

/** Answer of `POST heartbeat`. An older api says neither what to do nor when. */
export const heardAnswer = z.object({
  worker: heartbeatAnswer.shape.worker.partial({ duty: true, open_work: true, heartbeat_every_ms: true }),
});
export type HeardAnswer = z.infer<typeof heardAnswer>;

const problemDocument = z.object({
  code: z.string(),
  detail: z.string().optional(),
  title: z.string().optional(),
  /** Where the workload stands, if the refusal says it. */
  state: z.enum(WORKLOAD_STATES).optional().catch(undefined),
  wait_ms: z.number().nullish().catch(undefined),
  /** Why a lease token does not hold, and for which delivery the lease is now. */
  staleness: z.string().max(64).optional().catch(undefined),
  delivery: z.number().nullish().catch(undefined),
  /** The sequence of the heartbeat that was taken last. */
  last: z.number().nullish().catch(undefined),
});

/** Where a refusal says that the workload stands; nulls when it does not. */
export function standingOf(problem: Problem): { state: WorkloadState | null; waitMs: number | null } {
  const { state, wait_ms: waitMs } = (problem.extra ?? {}) as { state?: WorkloadState; wait_ms?: number | null };
  return { state: state ?? null, waitMs: waitMs ?? null };
}

/** The lease ran out or is another worker's, and is for this same delivery: its job goes on, and somebody waits for its end. */
export function isTakenOver(problem: Problem, delivery: number): boolean {
  const { staleness, delivery: current } = (problem.extra ?? {}) as { staleness?: string; delivery?: number | null };
  return current === delivery && (staleness === 'mismatch' || staleness === 'expired');
}

/**
 * Reads a refusal. Without a problem document of our own (a proxy's error page, a code this version does not know)
 * there is no `problem`: such an answer must not decide anything.
 */
export function problemFrom(
  status: number,
  header: (name: string) => string | null,
  body: unknown,
): { problem: Problem | null; code: string | null; retryAfterMs: number | undefined } {
  const retryAfterMs = retryAfter(header('retry-after'));
  const isProblem = header('content-type')?.startsWith('application/problem+json') ?? false;
  const document = problemDocument.safeParse(isProblem ? body : undefined);
  if (!document.success) return { problem: null, code: null, retryAfterMs };
  const { code, detail, title, state, wait_ms, staleness, delivery, last } = document.data;
  if (!isProblemCode(code) || PROBLEMS[code] !== status)
    return { problem: null, code: code.slice(0, 64), retryAfterMs };
  const options = {
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(state === undefined ? {} : { extra: { state, wait_ms: wait_ms ?? null } }),
    ...(last == null ? {} : { extra: { last } }),
    ...(staleness === undefined ? {} : { extra: { staleness, delivery: delivery ?? null } }),
  };
  return { problem: new Problem(code, (detail ?? title ?? code).slice(0, 500), options), code, retryAfterMs };
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code);
}

/** Milliseconds of a Retry-After header, seconds or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+(\.\d+)?$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}
