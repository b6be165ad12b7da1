import { Problem, type ProblemCode } from '../../contracts/problems';
import { secretHash } from '../../domain/secret';
import type { Queryable } from '../database';
import { mayNotWrite, WRITING_STATES, type FencedWrite } from '../fenced-write';
import { recordStaleWrite, StaleLease } from '../lease';

type Answer<T> =
  | { written: T }
  | { refused: string; epoch?: number | null; delivery?: number | null; extra?: Record<string, unknown> };

/** Why the ledger takes no such content: code and words. */
const CONTENT: Record<string, readonly [code: ProblemCode, detail: string]> = {
  content_mismatch: ['idempotency.content_mismatch', 'It was written before with other content.'],
  not_monotonic: ['sequence.not_monotonic', 'The sequence is not after the last one.'],
  version_stale: ['checkpoint.version_stale', 'The version is not the next after the kept one.'],
  status_passed: ['workload.state_conflict', 'It has gone further: its status only goes on.'],
  limit: ['work.limit_reached', 'The workload has as many of them as it may.'],
};

/** A kind of write: its name in the audit, and the call of its function with `$6` as the first value of its own. */
export interface WriteKind {
  kind: string;
  call: string;
}

/** What every function of `0014_work_writes.sql` takes first. */
export const WRITER = 'ROW($1::text, $2::text, $3::text, $4::bytea, $5::text[])::work_writer';

/**
 * Writes under a lease in one round trip; a refusal changes nothing. A stale token leaves an audit row, which is a second one. To be called
 * outside of transactions, so that the row stays.
 */
export async function fencedCall<T>(
  db: Queryable,
  { kind, call }: WriteKind,
  { principal, workId, leaseToken }: FencedWrite,
  values: readonly unknown[],
): Promise<T> {
  const { workerId, credentialId, poolId } = principal;
  const writer = [workId, workerId, credentialId, secretHash(leaseToken), WRITING_STATES];
  const [row] = await db.query<{ answer: Answer<T> }>(`SELECT ${call} AS answer`, [...writer, ...values]);
  const { answer } = row!;
  if ('written' in answer) return answer.written;
  const { refused, epoch = null, delivery = null, extra } = answer;
  if (refused === 'no_work') throw new Problem('not_found', 'No such workload.');
  if (refused === 'no_worker') throw mayNotWrite();
  if (refused === 'not_begun') throw new Problem('workload.state_conflict', 'No intent is recorded under this lease.');
  const content = CONTENT[refused];
  if (content) throw new Problem(...content, extra && { extra });
  const stale = new StaleLease(refused, epoch === null ? null : { epoch: String(epoch), delivery }, leaseToken);
  throw await recordStaleWrite(db, { workId, workerId, poolId, kind, stale });
}

/** A time as the ledger's JSON has it, in the service's spelling. */
export const utc = (time: string): string => new Date(time).toISOString();
