import { Problem } from '../contracts/problems';

/** Each export keeps a connection of the ledger for as long as its caller reads. */
const MAX_EXPORTS = 3;

const running = new WeakMap<object, number>();

/** Takes a place for an export on this ledger; the answer gives it back. With too many under way it is `capacity.exports`. */
export function exportSlot(db: object): () => void {
  const count = running.get(db) ?? 0;
  if (count >= MAX_EXPORTS) {
    throw new Problem('capacity.exports', `${MAX_EXPORTS} exports are under way here.`, { retryAfterMs: 5_000 });
  }
  running.set(db, count + 1);
  let taken = true;
  return () => {
    if (taken) running.set(db, (running.get(db) ?? 1) - 1);
    taken = false;
  };
}
