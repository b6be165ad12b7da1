import { Problem } from '../../contracts/problems';

const MAX_FOLLOWERS = 100;
const MAX_FOLLOWERS_OF_TENANT = 25;

/** Counts who follows output in this process: not too many, and not all of them of one tenant. */
export class Followers {
  readonly #counts = new Map<string, number>();
  #all = 0;

  /** Takes a place; the answer gives it back. Without one it is `capacity.followers`. */
  enter(tenantId: string): () => void {
    const count = this.#counts.get(tenantId) ?? 0;
    if (this.#all >= MAX_FOLLOWERS || count >= MAX_FOLLOWERS_OF_TENANT) {
      throw new Problem('capacity.followers', 'Too many follow output here.', { retryAfterMs: 5_000 });
    }
    this.#all += 1;
    this.#counts.set(tenantId, count + 1);
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#all -= 1;
      const left = this.#counts.get(tenantId)! - 1;
      if (left === 0) this.#counts.delete(tenantId);
      else this.#counts.set(tenantId, left);
    };
  }
}
