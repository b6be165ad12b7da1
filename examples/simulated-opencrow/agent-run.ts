import type { AgentStep } from './agent-script';

const INTERRUPTED = { error_kind: 'pi', error: 'context cancelled: context canceled' };

/** How a run ended, as OpenCrow reports it. */
export interface RunEnd {
  status: 'completed' | 'failed' | 'aborted' | 'preempted';
  details: Record<string, unknown>;
  /** Back into the inbox, with a new id. */
  requeue: boolean;
}

/** What can interrupt a run. Agents heed it or not. */
export type Interruption = 'preempted' | 'aborted' | 'shutdown';

/** One run of the simulated agent. */
export class AgentRun {
  #interrupt: ((end: RunEnd) => void) | null = null;
  #early: RunEnd | null = null;

  constructor(
    private readonly step: AgentStep,
    /** How often the item was requeued before. */
    private readonly requeued: number,
  ) {}

  /** Asks the agent to end. A silent one only does when its whole process group is killed at shutdown. */
  interrupt(why: Interruption): void {
    if (this.step.behaviour === 'silent' && why !== 'shutdown') return;
    const end = this.#interruptedEnd(why);
    this.#early = end;
    this.#interrupt?.(end);
  }

  /** Runs to the end. `sayHello` makes a chat message come in. */
  async end(sayHello: () => void): Promise<RunEnd> {
    const interrupted = new Promise<RunEnd>((resolve) => {
      this.#interrupt = resolve;
      if (this.#early) resolve(this.#early);
    });
    if (this.step.behaviour === 'silent') return interrupted;
    let timer: NodeJS.Timeout | undefined;
    const ended = new Promise<RunEnd>((resolve) => {
      timer = setTimeout(() => {
        if (this.step.behaviour === 'crash') process.kill(process.pid, 'SIGKILL');
        else if (this.step.behaviour === 'preempt_then_complete' && this.requeued === 0) sayHello();
        else resolve(this.#ownEnd());
      }, this.step.after_ms);
    });
    const end = await Promise.race([ended, interrupted]);
    clearTimeout(timer);
    return end;
  }

  #interruptedEnd(why: Interruption): RunEnd {
    if (why === 'aborted') return { status: 'aborted', details: INTERRUPTED, requeue: false };
    if (why === 'preempted' && this.step.on_chat === 'polite') return completed(true);
    return { status: 'preempted', details: INTERRUPTED, requeue: true };
  }

  #ownEnd(): RunEnd {
    const { behaviour, error, error_bytes: errorBytes } = this.step;
    if (behaviour === 'fail') {
      const details = { error: error.padEnd(errorBytes, 'x'), error_kind: 'pi' };
      return { status: 'failed', details, requeue: false };
    }
    if (behaviour === 'abort') return { status: 'aborted', details: INTERRUPTED, requeue: false };
    return completed(behaviour === 'suppress_reply');
  }
}

function completed(replySuppressed: boolean): RunEnd {
  return { status: 'completed', details: { reply_suppressed: replySuppressed }, requeue: false };
}
