/**
 * What can be wrong with the parts of a command, told in one clause; null when nothing is. The same for what a policy says, what
 * an event fills in, and what a backend is asked to run.
 */

/** Bytes of the command and all its arguments together, one more for each. */
const MAX_ARGV_BYTES = 128 * 1024;
/** Longest time a command may be given, milliseconds: 7 days. */
const MAX_TIMEOUT_MS = 7 * 24 * 3600 * 1000;

/** What an image may be called: registry, port, path, tag. Nothing that could be read as an option. */
const IMAGE =
  /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?$/i;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function argvFault(argv: readonly string[]): string | null {
  if (argv.some((argument) => argument.includes('\0'))) return 'an argument holds NUL';
  const bytes = argv.reduce((sum, argument) => sum + Buffer.byteLength(argument) + 1, 0);
  return bytes > MAX_ARGV_BYTES ? `command and arguments have ${bytes} bytes, the limit is ${MAX_ARGV_BYTES}` : null;
}

export const timeoutFault = (timeoutMs: number): string | null =>
  Number.isInteger(timeoutMs) && timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS
    ? null
    : `the timeout must be 1 to ${MAX_TIMEOUT_MS} ms`;

/** Of a folder below a workspace, as far as its name tells: where links lead is seen only where it runs. */
export function folderFault(cwd: string): string | null {
  if (cwd.includes('\0')) return 'the working folder holds NUL';
  const climbs = cwd.startsWith('/') || cwd.split('/').includes('..');
  return climbs ? 'the working folder must lie in the workspace: relative, without ..' : null;
}

export const imageFault = (image: string): string | null =>
  image.length <= 512 && IMAGE.test(image) ? null : 'the image must be a name such as registry:5000/team/tool:tag';

export const digestFault = (digest: string): string | null =>
  DIGEST.test(digest) ? null : 'the digest must be sha256: and 64 lower-case hex digits';

export function endpointFault(endpoint: string): string | null {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    return 'the endpoint must be an http or https URL';
  }
  if (url.username !== '' || url.password !== '') {
    return 'the endpoint must hold no user and no password; the runner’s token is a setting of the worker';
  }
  return url.hash === '' ? null : 'the endpoint must have no fragment';
}

export const jobIdFault = (jobId: string): string | null =>
  /[\p{Cc}\p{Zl}\p{Zp}]/u.test(jobId) ? 'the job id must be printable characters' : null;
