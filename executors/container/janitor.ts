import { parseRunKey } from '../../contracts/names';
import type { TidyContext } from '../backend';
import { ContainerCli } from './container-cli';
import { containerNameOf, RUN_LABEL, runKeyOfContainer, WORKER_LABEL } from './run-arguments';

/** Containers looked at in one round. */
const MOST = 500;

/**
 * Removes containers of ours that were left: those of this worker that this process does not run, and those of others whose run
 * nobody waits for any more. One at a time; none without our label is touched. Answers with the keys of the runs whose
 * containers it removed.
 */
export async function removeLeftContainers(
  runtimes: readonly string[],
  { hostEnv, workerId, running, over, signal }: TidyContext,
): Promise<string[]> {
  const removed: string[] = [];
  for (const runtime of runtimes) {
    const cli = new ContainerCli(runtime, hostEnv);
    const left = (await runsWith(cli, RUN_LABEL)).filter((key) => !running().has(key)).slice(0, MOST);
    if (left.length === 0) continue;
    const mine = new Set(await runsWith(cli, `${WORKER_LABEL}=${workerId}`));
    const others = left.filter((key) => !mine.has(key) && parseRunKey(key) !== null);
    const answered = new Set(others.length === 0 ? [] : await over(others).catch(() => []));
    const closed = new Set(others.filter((key) => answered.has(key)));
    for (const key of left) {
      if (signal.aborted) return removed;
      if ((mine.has(key) || closed.has(key)) && !running().has(key)) {
        if (await cli.remove(containerNameOf(key))) removed.push(key);
      }
    }
  }
  return removed;
}

/** Keys of the runs whose containers have this label; none when the runtime does not answer. */
async function runsWith(cli: ContainerCli, label: string): Promise<string[]> {
  const { ok, text } = await cli.ask(['ps', '--all', '--filter', `label=${label}`, '--format', '{{.Names}}']);
  return ok ? text.split('\n').flatMap((name) => runKeyOfContainer(name.trim()) ?? []) : [];
}
