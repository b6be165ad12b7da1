import type { Logger } from 'pino';

/** Something of a process that has to be stopped. */
export interface Part {
  /** Finishes or gives back what it holds, for at most about `graceMs`. */
  stop(graceMs: number): Promise<void>;
  /** Lets go at once, without waiting: the process ends by force. */
  abandon?(): void;
}

/** No part is given less than this, however late it is. */
const LEAST_GRACE_MS = 1_000;

/** What runs in a process, stopped in the reverse order of its start: who uses something ends before it does. */
export class RunningParts {
  private readonly parts: { name: string; part: Part }[] = [];
  /** The part that is being stopped now. */
  stopping: string | null = null;

  constructor(private readonly logger: Logger) {}

  add(name: string, part: Part): void {
    this.parts.push({ name, part });
  }

  /** Stops all parts within about `graceMs` in all. False when one of them failed to; the others are stopped even so. */
  async stop(graceMs: number): Promise<boolean> {
    const deadline = Date.now() + graceMs;
    let ok = true;
    for (let next = this.parts.pop(); next; next = this.parts.pop()) {
      this.stopping = next.name;
      try {
        await next.part.stop(Math.max(deadline - Date.now(), LEAST_GRACE_MS));
        this.logger.debug({ part: next.name }, 'stopped');
      } catch (error) {
        ok = false;
        this.logger.error({ part: next.name, err: error }, 'could not be stopped in order');
      }
    }
    this.stopping = null;
    return ok;
  }

  /** Lets go of everything at once, also of what is being stopped. */
  abandon(): void {
    for (const { part } of this.parts.reverse()) part.abandon?.();
  }
}
