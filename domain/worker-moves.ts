import type { WorkerDuty, WorkerState } from '../contracts/terminology';

/** What can happen to a worker: what people order, and what the control plane finds. */
export const WORKER_ORDERS = ['activate', 'pause', 'resume', 'drain', 'retire', 'revoke'] as const;
export type WorkerOrder = (typeof WORKER_ORDERS)[number];
export type WorkerMove = WorkerOrder | 'find_unhealthy' | 'recover';

const TARGET: Record<WorkerMove, WorkerState> = {
  activate: 'active',
  resume: 'active',
  recover: 'active',
  pause: 'paused',
  drain: 'draining',
  retire: 'retired',
  revoke: 'revoked',
  find_unhealthy: 'unhealthy',
};

/** Where a worker may go from each state; the last two are final. */
const NEXT: Record<WorkerState, readonly WorkerState[]> = {
  pending: ['active', 'revoked'],
  active: ['draining', 'paused', 'unhealthy', 'retired', 'revoked'],
  draining: ['active', 'retired', 'revoked', 'unhealthy'],
  paused: ['active', 'retired', 'revoked'],
  unhealthy: ['active', 'draining', 'retired', 'revoked'],
  retired: [],
  revoked: [],
};

/** The state after a move, or why there is none. `changed` is false when the worker is there already. */
export function moveWorker(
  from: WorkerState,
  move: WorkerMove,
): { to: WorkerState; changed: boolean } | { forbidden: string } {
  const to = TARGET[move];
  if (move === 'recover' && from !== 'unhealthy') return { forbidden: `it is ${from}, not unhealthy` };
  if (from === to) return { to, changed: false };
  if (move === 'resume' && from === 'pending') return { forbidden: 'it is pending: activate it' };
  if (!NEXT[from].includes(to)) {
    const ways = NEXT[from].length === 0 ? `${from} is final` : `from ${from} it may become ${NEXT[from].join(', ')}`;
    return { forbidden: ways };
  }
  return { to, changed: true };
}

const DUTY: Record<WorkerState, WorkerDuty> = {
  pending: 'wait',
  active: 'work',
  draining: 'drain',
  paused: 'pause',
  unhealthy: 'wait',
  retired: 'stop',
  revoked: 'stop',
};

export const dutyOf = (state: WorkerState): WorkerDuty => DUTY[state];

/** Whether a worker in this state may claim, renew and write under its leases. */
export const mayClaim = (state: WorkerState): boolean => state === 'active';
export const mayRenew = (state: WorkerState): boolean => ['active', 'draining', 'unhealthy'].includes(state);
export const mayWrite = (state: WorkerState): boolean => mayRenew(state) || state === 'paused';
