/** One broken rule of a request: where (JSON pointer) and which. */
export interface ProblemItem {
  pointer: string;
  detail: string;
}

/**
 * Every error the service tells the outside, with its HTTP status. Codes are stable: clients may branch on them.
 * 429 and 503 always carry `Retry-After`.
 */
export const PROBLEMS = {
  'request.malformed': 400,
  'request.unknown_field': 400,
  'lease.token_required': 400,
  'auth.required': 401,
  'webhook.signature_invalid': 401,
  'entitlement.lapsed': 402,
  'auth.scope_required': 403,
  'worker.pending': 403,
  'worker.draining': 403,
  'worker.paused': 403,
  'worker.unhealthy': 403,
  'worker.retired': 403,
  'worker.revoked': 403,
  'worker.wrong_pool': 403,
  'worker.wrong_tenant': 403,
  'worker.incompatible': 403,
  'capability.denied': 403,
  not_found: 404,
  'artifacts.not_kept': 404,
  method_not_allowed: 405,
  'event.conflict': 409,
  'idempotency.conflict': 409,
  'workload.state_conflict': 409,
  'workload.not_needed': 409,
  'dedupe.held': 409,
  'replay.body_pruned': 409,
  'lease.held': 409,
  'lease.stale': 409,
  'delivery.maybe_written': 409,
  'artifacts.offset_ahead': 409,
  'pool.not_active': 409,
  'pool.exists': 409,
  'worker.exists': 409,
  'worker.state_conflict': 409,
  'worker.version_incompatible': 409,
  'worker.holds_leases': 409,
  'credential.not_live': 409,
  'heartbeat.out_of_order': 409,
  'idempotency.content_mismatch': 409,
  'sequence.not_monotonic': 409,
  'checkpoint.version_stale': 409,
  'work.limit_reached': 409,
  'state.too_many_keys': 409,
  'artifacts.gone': 410,
  'state.precondition_failed': 412,
  'request.too_large': 413,
  'artifacts.too_large': 413,
  'request.unsupported_media_type': 415,
  'artifacts.range': 416,
  'request.invalid': 422,
  'policy.invalid': 422,
  'callback.forbidden_host': 422,
  'callback.limit': 422,
  'subscription.limit': 422,
  'webhook.not_configured': 422,
  'policy.diff_busy': 429,
  'capacity.worker': 429,
  'capacity.pool': 429,
  'capacity.pool_workers': 429,
  'capacity.tenant': 429,
  'quota.exceeded': 429,
  'capacity.suspect': 429,
  'capacity.exports': 429,
  'capacity.followers': 429,
  'auth.backoff': 429,
  'rate_limit.exceeded': 429,
  internal: 500,
  'artifacts.no_room': 503,
  'ledger.unavailable': 503,
  shutting_down: 503,
} as const;
export type ProblemCode = keyof typeof PROBLEMS;

/** An error meant for the caller. Its text must never hold secrets or event bodies. */
export class Problem extends Error {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly errors: ProblemItem[] | undefined;
  readonly extra: Record<string, unknown> | undefined;

  constructor(
    readonly code: ProblemCode,
    detail: string,
    options: { retryAfterMs?: number; errors?: ProblemItem[]; extra?: Record<string, unknown> } = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.status = PROBLEMS[code];
    this.retryAfterMs = options.retryAfterMs ?? (this.status === 429 || this.status === 503 ? 1000 : undefined);
    this.errors = options.errors;
    this.extra = options.extra;
  }
}
