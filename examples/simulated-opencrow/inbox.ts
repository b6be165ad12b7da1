import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { WorkloadMetadata } from './workload-grammar';

/** Lower goes first. */
export const PRIORITY = { user: 0, trigger: 1 } as const;

/** One waiting item. */
export interface InboxRow {
  id: number;
  priority: number;
  content: string;
  metadata: WorkloadMetadata | null;
  /** How often it was requeued. */
  attempt: number;
}

/** OpenCrow's inbox: survives restarts, knows no duplicates, forgets an item when it is taken out. */
export class Inbox {
  #nextId = 1;
  #rows: InboxRow[] = [];

  constructor(private readonly path: string) {
    try {
      const stored = JSON.parse(readFileSync(path, 'utf8')) as { next_id: number; rows: InboxRow[] };
      this.#nextId = stored.next_id;
      this.#rows = stored.rows;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  get length(): number {
    return this.#rows.length;
  }

  enqueue(row: Omit<InboxRow, 'id'>): InboxRow {
    const added = { id: this.#nextId, ...row };
    this.#nextId += 1;
    this.#rows.push(added);
    this.#store();
    return added;
  }

  /** Takes out the first item by priority and id. It is gone from the file before it runs. */
  dequeue(): InboxRow | null {
    const first = this.#rows.toSorted((a, b) => a.priority - b.priority || a.id - b.id)[0];
    if (!first) return null;
    // Waiting user messages become one prompt.
    this.#rows = this.#rows.filter((row) => row !== first && !(first.priority === 0 && row.priority === 0));
    this.#store();
    return first;
  }

  #store(): void {
    writeFileSync(`${this.path}.tmp`, JSON.stringify({ next_id: this.#nextId, rows: this.#rows }));
    renameSync(`${this.path}.tmp`, this.path);
  }
}
