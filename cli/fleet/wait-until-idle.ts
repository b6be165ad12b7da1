import { setTimeout as sleep } from 'node:timers/promises';
import { formatDuration } from '../../contracts/duration';
import type { Database } from '../../ledger/database';
import { heldWork, workerStates } from '../../ledger/held-work';
import { CommandFailed } from '../exit-codes';
import { heldText } from './worker-order';

const POLL_MS = 1000;
/** Work ids that a progress line names. */
const NAMED = 3;

export interface IdleOptions {
  timeoutMs: number;
  /** Told what is still held, when that is news. */
  onProgress: (line: string) => void;
  /** Ends the waiting. */
  signal: AbortSignal;
  /** Time between two looks. Default one second. */
  pollMs?: number;
}

/**
 * Waits until these workers, which drain, hold nothing. Fails when the time is over, when one of them was told otherwise meanwhile,
 * and when it is cut short; the order stands in each case.
 */
export async function waitUntilIdle(
  db: Database,
  workerIds: readonly string[],
  { timeoutMs, onProgress, signal, pollMs = POLL_MS }: IdleOptions,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let told = '';
  for (;;) {
    const held = await heldWork(db, workerIds);
    await refuseOtherOrders(db, workerIds);
    if (held.length === 0) return;
    const ids = [...new Set(held.map(({ work_id }) => work_id))];
    const line = `${heldText(held)} still held: ${ids.slice(0, NAMED).join(', ')}${ids.length > NAMED ? ', …' : ''}`;
    if (line !== told) onProgress(line);
    told = line;
    if (Date.now() >= deadline) {
      throw new CommandFailed(
        `${line} after ${formatDuration(timeoutMs)}; the order stands: see \`workloadd workers list --watch\``,
      );
    }
    await sleep(Math.min(pollMs, Math.max(1, deadline - Date.now())), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) throw new CommandFailed(`not waited for any more: ${line}; the order stands`);
  }
}

/** A worker that was ordered back takes new work again; one that is shut out ends by itself. */
async function refuseOtherOrders(db: Database, workerIds: readonly string[]): Promise<void> {
  const states = await workerStates(db, workerIds);
  const other = states.find(({ status }) => status === 'active' || status === 'paused');
  if (other) throw new CommandFailed(`worker ${other.worker_id} is ${other.status} again: somebody else ordered it`);
}
