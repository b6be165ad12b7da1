import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import type { Logger } from 'pino';
import type { CommandExecutor } from '../../contracts/terminology';
import { debugPoint } from '../../domain/debug-point';
import type { Backend } from '../backend';
import { claimWork, untilSettled } from '../delivery-loop';
import type { ControlPlaneClient } from '../control-plane-client';
import type { DeliveryContext, DeliveryOutcome, DeliveryTask, Executor, ExecutorStatus } from '../executor';
import type { Rounds } from '../../domain/rounds';
import { tidying } from '../tidying';
import { noOutput, type OpenCommandOutput } from './command-output';
import { runClaimed, type CommandTools } from './run-claimed';
import { WorkerProfiles } from './worker-profiles';

export interface CommandExecutorOptions {
  /** Which work it takes; the id of `backend`. */
  kind: CommandExecutor;
  backend: Backend;
  /** Folder that all commands run in or below; made when there is none. */
  workspace: string;
  /** Folder of sandbox profiles `<id>.json`. Default: only the bundled ones are known. */
  sandboxProfiles?: string | undefined;
  /** Milliseconds that commands may go on once the worker is to stop; then they are ended. */
  graceMs: number;
  /** Where the api is, for runners that call back. */
  apiUrl: string;
  workerId: string;
  /** Folder of this worker where runs are noted, so that its next start can end what this one leaves. */
  runsFolder: string;
  /** Keys of the runs under way; shared by the executors of a worker. */
  running: Set<string>;
  /** Where output goes. Default: nowhere. */
  output?: OpenCommandOutput;
  logger: Logger;
}

/** How often a backend that is not ready is asked again. */
const PROBE_AGAIN_MS = 60_000;

/** The executor for the commands of one backend. One that is not ready is offered even so: each run says why it is refused. */
export function createCommandExecutor(options: CommandExecutorOptions): Executor {
  return new BackendExecutor(options);
}

class BackendExecutor implements Executor {
  readonly kind: CommandExecutor;
  private readonly tools: CommandTools;
  private ready = true;
  /** Why it was not ready, as last logged. */
  private toldWhy: string | null = null;
  private probing: NodeJS.Timeout | undefined;
  private tidying: Rounds | null = null;

  constructor(private readonly options: CommandExecutorOptions) {
    const { kind, logger: _, sandboxProfiles, output = noOutput, ...tools } = options;
    this.kind = kind;
    this.tools = { ...tools, profiles: new WorkerProfiles(sandboxProfiles), output, hostEnv: process.env };
  }

  async start(control: ControlPlaneClient): Promise<void> {
    const { backend, workspace, logger } = this.options;
    const { hostEnv, workerId, runsFolder, running } = this.tools;
    mkdirSync(workspace, { recursive: true, mode: 0o700 });
    const over = (keys: readonly string[]): Promise<string[]> => control.over(keys);
    const left = { hostEnv, workerId, runsFolder, running: () => running, over };
    this.tidying = tidying({ ...left, backends: [backend], logger });
    this.tidying.start();
    await this.probe();
  }

  deliver(task: DeliveryTask, context: DeliveryContext): Promise<DeliveryOutcome> {
    const claimKey = randomBytes(24).toString('base64url');
    return untilSettled(context, async () => {
      debugPoint('before-claim');
      const claim = await claimWork({ work_id: task.workId, claim_key: claimKey }, context);
      if ('outcome' in claim || 'again' in claim) return claim;
      debugPoint('after-claim');
      return runClaimed(claim, context, this.tools);
    });
  }

  status(): ExecutorStatus {
    return { ready: this.ready, reason: this.ready ? null : `${this.kind}.not_ready`, restarted: false };
  }

  restartReported(): void {
    // Commands are no processes of their own that restart.
  }

  async stop(): Promise<void> {
    clearTimeout(this.probing);
    await this.tidying?.stop();
  }

  private async probe(): Promise<void> {
    const { backend, logger } = this.options;
    const { ready, checks } = await backend.probe({ hostEnv: this.tools.hostEnv });
    const why = checks.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`);
    const log = logger.child({ backend: backend.spec.id });
    if (ready) log.info('the backend is ready');
    else if (why.join() !== this.toldWhy) log.warn({ why }, 'the backend is not ready; commands for it are refused');
    this.toldWhy = why.join();
    this.ready = ready;
    if (ready) return;
    this.probing = setTimeout(() => void this.probe(), PROBE_AGAIN_MS);
    this.probing.unref();
  }
}
