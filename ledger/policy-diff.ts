import { setTimeout } from 'node:timers/promises';
import type { SourceEvent } from '../contracts/events';
import type { RuleDecision } from '../contracts/policy';
import type { PolicyChange, PolicyDiff } from '../contracts/policy-diff';
import type { Decision } from '../contracts/terminology';
import { differenceOf, type Difference } from '../domain/policy/diff';
import type { CompiledPolicy } from '../domain/policy/compile';
import { evaluatePolicy } from '../domain/policy/evaluate';
import type { Queryable } from './database';
import { recordedOf } from './explanation';

export interface PolicyDiffRequest {
  tenantId: string;
  candidate: CompiledPolicy;
  /** How many of the newest events. */
  last: number;
  /** How many changes are listed; all are counted. */
  maxChanges: number;
  /** Milliseconds after which it stops with what it has. Default: none. */
  budgetMs?: number;
  /** Stops it with what it has. */
  signal?: AbortSignal;
}

/** Bodies of this many events are in memory at a time, each up to 256 KiB. */
const CHUNK = 50;
/** After this long, or after the one event that takes longer, others have the process for as long. */
const SLICE_MS = 10;

interface StoredCase {
  workload_id: string;
  source: string;
  action: string;
  event_id: string;
  subject: string | null;
  accepted_at: Date;
  /** As Postgres writes it: a JavaScript date would lose the microseconds. */
  accepted_text: string;
  body: string | null;
  decision: Decision | null;
  rule_id: string | null;
  reason: string;
  rule: string | null;
  dedupe_key: string | null;
  trace: string;
  run: string | null;
}

/**
 * Judges a tenant's newest events by another policy, and says which decisions on record it would change. Reads only; what comes
 * in meanwhile is not looked at. Never has the process for more than half of the time.
 */
export async function diffPolicy(db: Queryable, request: PolicyDiffRequest): Promise<PolicyDiff> {
  const { tenantId, candidate, last, maxChanges, budgetMs = Infinity, signal } = request;
  const tally = new Tally(candidate, maxChanges);
  const end = performance.now() + budgetMs;
  let worked = 0;
  for await (const stored of newestCases(db, tenantId, last)) {
    const begun = performance.now();
    if (begun > end || signal?.aborted) return tally.result(false);
    tally.add(stored, tenantId);
    worked += performance.now() - begun;
    if (worked < SLICE_MS) continue;
    await setTimeout(worked);
    worked = 0;
  }
  return tally.result(true);
}

async function* newestCases(db: Queryable, tenantId: string, last: number): AsyncGenerator<StoredCase> {
  let after: StoredCase | undefined;
  for (let left = last; left > 0; left -= CHUNK) {
    const limit = Math.min(left, CHUNK);
    const rows = await db.query<StoredCase>(
      `SELECT w.workload_id, w.source, w.action, w.event_id, w.subject, w.accepted_at, w.accepted_at::text AS accepted_text,
         e.body, d.decision, d.rule_id, d.reason, d.rule, d.dedupe_key, d.trace, d.run
       FROM workloads w
       JOIN events e ON e.workload_id = w.workload_id
       LEFT JOIN decisions d ON d.workload_id = w.workload_id
       WHERE w.tenant_id = $1 AND ($2::timestamptz IS NULL OR (w.accepted_at, w.workload_id) < ($2, $3))
       ORDER BY w.accepted_at DESC, w.workload_id DESC LIMIT $4`,
      [tenantId, after?.accepted_text ?? null, after?.workload_id ?? null, limit],
    );
    yield* rows;
    if (rows.length < limit) return;
    after = rows.at(-1);
  }
}

class Tally {
  private readonly counts = { events: 0, judged: 0, changed: 0 };
  private readonly notJudged = { body_pruned: 0, not_decided: 0 };
  private readonly byKind = new Map<string, number>();
  private readonly byDecision = new Map<`${RuleDecision} ${RuleDecision}`, number>();
  private readonly changes: PolicyChange[] = [];
  private oldest: Date | null = null;

  constructor(
    private readonly candidate: CompiledPolicy,
    private readonly maxChanges: number,
  ) {}

  add(stored: StoredCase, tenant: string): void {
    this.counts.events += 1;
    this.oldest = stored.accepted_at;
    const { decision } = stored;
    if (decision === null) {
      this.notJudged.not_decided += 1;
    } else if (stored.body === null) {
      this.notJudged.body_pruned += 1;
    } else {
      this.counts.judged += 1;
      const event = JSON.parse(stored.body) as SourceEvent;
      const recorded = recordedOf({ ...stored, decision });
      const difference = differenceOf(recorded, evaluatePolicy(this.candidate, event, { tenant }));
      if (difference) this.note(stored, decision, difference);
    }
  }

  private note(stored: StoredCase, decision: Decision, { changed, from, to }: Difference): void {
    this.counts.changed += 1;
    for (const kind of changed) increase(this.byKind, kind);
    if (from.decision !== to.decision) increase(this.byDecision, `${from.decision} ${to.decision}`);
    if (this.changes.length >= this.maxChanges) return;
    const { workload_id, source, action, event_id, subject, accepted_at } = stored;
    this.changes.push({
      ...{ workload_id, source, action, event_id, subject, accepted_at: accepted_at.toISOString() },
      ...{ changed, from, to, recorded_decision: decision },
    });
  }

  result(complete: boolean): PolicyDiff {
    return {
      candidate: { policy_hash: this.candidate.hash, rules: this.candidate.rules.length },
      ...this.counts,
      not_judged: this.notJudged,
      complete,
      oldest_at: this.oldest?.toISOString() ?? null,
      by_kind: Object.fromEntries(this.byKind),
      by_decision: [...this.byDecision].map(([pair, events]) => {
        const [from, to] = pair.split(' ') as [RuleDecision, RuleDecision];
        return { from, to, events };
      }),
      changes: this.changes,
      truncated: this.changes.length < this.counts.changed,
    };
  }
}

function increase<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
