import path from 'node:path';
import type { Logger } from 'pino';
import type { CommandExecutor } from '../../contracts/terminology';
import { builtInBackends, type BackendSettings } from '../../executors/backends';
import { createCommandExecutor } from '../../executors/command';
import { spooledOutput } from '../../executors/command/run-output';
import type { Executor } from '../../executors/executor';

/** The execution backends that a worker offers. */
export interface OfferedBackends extends BackendSettings {
  /** None: this worker runs no commands. */
  kinds: readonly CommandExecutor[];
  /** Folder that all commands run in or below. Default: `workspace` in the spool folder. */
  workspace?: string | undefined;
  /** Folder of sandbox profiles. Default: only the bundled ones are known. */
  sandboxProfiles?: string | undefined;
}

/** The executors of the offered backends. What they keep is below `spoolDir`, which is this worker's alone. */
export function commandExecutors(
  offered: OfferedBackends,
  worker: { workerId: string; apiUrl: string; spoolDir: string; graceMs: number; logger: Logger },
): Executor[] {
  const { spoolDir, ...own } = worker;
  if (offered.kinds.length === 0) return [];
  const running = new Set<string>();
  const output = spooledOutput({ folder: path.join(spoolDir, 'output') });
  return builtInBackends(offered).flatMap((backend) => {
    const kind = offered.kinds.find((each) => each === backend.spec.id);
    if (kind === undefined) return [];
    return createCommandExecutor({
      ...own,
      kind,
      backend,
      workspace: path.resolve(offered.workspace ?? path.join(spoolDir, 'workspace')),
      sandboxProfiles: offered.sandboxProfiles,
      runsFolder: path.join(spoolDir, 'runs'),
      running,
      output,
    });
  });
}
