import { createHash } from 'node:crypto';
import { pathOf, RequestError, withoutBlanks } from './api-request';
import type { ApiRequest } from './api-request';

/** States after which nothing happens by itself, but for a report that corrects `lost`. */
export const ENDED_STATES: ReadonlySet<string> = new Set([
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
]);

/** What an operator can do with a workload; each needs a reason. */
export type WorkloadAction = 'approve' | 'cancel' | 'deny' | 'replay';

/** True when the workload of a record has ended. */
export const hasEnded = (body: unknown): boolean =>
  ENDED_STATES.has(String((body as { state?: unknown } | null)?.state));

/** Milliseconds before poll number `n` (from 0): half a second, growing to ten seconds. */
export const pollDelay = (n: number): number => Math.min(10_000, Math.round(500 * 1.5 ** n));

export const getWorkload = (id: string): ApiRequest => ({ method: 'GET', path: pathOf`/api/workloads/${id}` });

export const explainWorkload = (id: string): ApiRequest => ({
  method: 'GET',
  path: pathOf`/api/workloads/${id}/explain`,
});

/** One page of workloads, newest first; blank filters are left out. */
export function listWorkloads(filters: Record<string, unknown>, limit: number, cursor?: string): ApiRequest {
  const query = withoutBlanks({ ...filters, limit, cursor }) as Record<string, string | number>;
  return { method: 'GET', path: '/api/workloads', query };
}

/** The page's workloads and where the next page begins; null ends the list. */
export function pageOf(body: unknown): { items: Record<string, unknown>[]; nextCursor: string | null } {
  const page = body as { workloads?: Record<string, unknown>[]; next_cursor?: string | null };
  return { items: page.workloads ?? [], nextCursor: page.next_cursor ?? null };
}

/** An operator's action. A repeat with the same idempotency key has no second effect. */
export function actOnWorkload(action: WorkloadAction, id: string, reason: string, idempotencyKey: string): ApiRequest {
  if (reason.trim() === '') throw new RequestError('Reason is empty');
  const path = `${pathOf`/api/workloads/${id}`}/${action}`;
  return { method: 'POST', path, body: { reason }, headers: { 'Idempotency-Key': idempotencyKey } };
}

/** A key that a retry of the same n8n execution repeats, and no other action shares. */
export function idempotencyKeyOf(...parts: (string | number)[]): string {
  return `n8n-${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40)}`;
}
