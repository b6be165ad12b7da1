import path from 'node:path';
import type { ExecutionRequest, RefusalCode } from '../../contracts/execution';

/** Bytes of the command and all its arguments together. */
const MAX_ARGV_BYTES = 128 * 1024;
/** Longest time a command may be given, milliseconds: 7 days. */
const MAX_TIMEOUT_MS = 7 * 24 * 3600 * 1000;

/** What is wrong with a request whatever the backend; null when nothing is. */
export function requestFault(request: ExecutionRequest): { code: RefusalCode; reason: string } | null {
  const { command = '', args = [], timeoutMs, cwd } = request;
  const argv = [command, ...args];
  if (argv.some((argument) => argument.includes('\0'))) {
    return { code: 'invalid-argument', reason: 'an argument holds NUL' };
  }
  const bytes = argv.reduce((sum, argument) => sum + Buffer.byteLength(argument) + 1, 0);
  if (bytes > MAX_ARGV_BYTES) {
    return {
      code: 'invalid-argument',
      reason: `command and arguments have ${bytes} bytes, the limit is ${MAX_ARGV_BYTES}`,
    };
  }
  if (!path.isAbsolute(cwd) || cwd.includes('\0')) {
    return { code: 'cwd-outside-workspace', reason: 'the working folder must be an absolute path' };
  }
  if (timeoutMs !== undefined && !(Number.isInteger(timeoutMs) && timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    return { code: 'invalid-timeout', reason: `the timeout must be 1 to ${MAX_TIMEOUT_MS} ms` };
  }
  return null;
}
