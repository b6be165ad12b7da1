import type { ExecutionHandle } from '../../contracts/execution';
import type { CheckedRequest } from '../backend';

/** Label of every container of ours; its value is the run's key. */
export const RUN_LABEL = 'opencrow-workloadd.run';
/** Label of the containers of a worker; its value is the worker's id. */
export const WORKER_LABEL = 'opencrow-workloadd.worker';

const NAME_PREFIX = 'wl-';

export const containerNameOf = (runKey: string): string => `${NAME_PREFIX}${runKey}`;

/** The inverse of {@link containerNameOf}; null for the name of another's. */
export const runKeyOfContainer = (name: string): string | null =>
  name.startsWith(NAME_PREFIX) ? name.slice(NAME_PREFIX.length) : null;

/** Variables that go into the container: the image brings its own PATH and HOME. */
export const containerVariables = ({ forwarded }: Pick<CheckedRequest, 'forwarded'>): string[] =>
  forwarded.filter((name) => name !== 'PATH' && name !== 'HOME');

/**
 * Arguments of `docker run`. Variables are given by name only, so that no value stands in the process table. A profile that
 * restricts the network in any way gets none.
 */
export function runArguments(
  request: CheckedRequest,
  handle: ExecutionHandle,
  { runKey, workerId, cidFile }: { runKey: string; workerId: string | undefined; cidFile: string },
): string[] {
  const { command, args, cwd, profile } = request;
  return [
    'run',
    '--rm',
    ...['--name', containerNameOf(runKey)],
    ...['--label', `${RUN_LABEL}=${runKey}`],
    ...(workerId === undefined ? [] : ['--label', `${WORKER_LABEL}=${workerId}`]),
    ...['--cidfile', cidFile],
    ...(profile.network.mode === 'any' ? [] : ['--network', 'none']),
    ...['-v', `${cwd}:${cwd}:ro`],
    ...['-w', cwd],
    ...containerVariables(request).flatMap((name) => ['-e', name]),
    handle.ref,
    command,
    ...args,
  ];
}
