import type { ExecutionHandle } from '../../contracts/execution';
import type { CheckedRequest } from '../backend';

/** Label of every container of ours; its value is the run's key. */
const RUN_LABEL = 'opencrow-workloadd.run';

export const containerNameOf = (runKey: string): string => `wl-${runKey}`;

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
  { runKey, cidFile }: { runKey: string; cidFile: string },
): string[] {
  const { command, args, cwd, profile } = request;
  return [
    'run',
    '--rm',
    ...['--name', containerNameOf(runKey)],
    ...['--label', `${RUN_LABEL}=${runKey}`],
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

/** What a reference to an image may look like: registry, port, path, tag. Nothing that could be read as an option. */
const IMAGE =
  /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?$/i;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** What is wrong with a target; null when nothing is. */
export function imageFault(image: string, digest: string | undefined): string | null {
  if (image.length > 512 || !IMAGE.test(image)) return 'the image must be a name such as registry:5000/team/tool:tag';
  if (digest !== undefined && !DIGEST.test(digest)) return 'the digest must be sha256: and 64 lower-case hex digits';
  return null;
}
