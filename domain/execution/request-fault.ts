import path from 'node:path';
import type { ExecutionRequest, RefusalCode } from '../../contracts/execution';
import { argvFault, timeoutFault } from '../../contracts/run-faults';

/** What is wrong with a request whatever the backend; null when nothing is. */
export function requestFault(request: ExecutionRequest): { code: RefusalCode; reason: string } | null {
  const { command = '', args = [], timeoutMs, cwd } = request;
  const argument = argvFault([command, ...args]);
  if (argument !== null) return { code: 'invalid-argument', reason: argument };
  if (!path.isAbsolute(cwd) || cwd.includes('\0')) {
    return { code: 'cwd-outside-workspace', reason: 'the working folder must be an absolute path' };
  }
  const time = timeoutMs === undefined ? null : timeoutFault(timeoutMs);
  return time === null ? null : { code: 'invalid-timeout', reason: time };
}
