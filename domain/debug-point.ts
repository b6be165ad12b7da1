/** Places where a test can end or freeze a process; those of the worker first, then those of the api and the control worker. */
export const DEBUG_POINTS = [
  'before-claim',
  'after-claim',
  'before-intent',
  'after-intent',
  'after-write',
  'after-run',
  'after-report',
  'after-append',
  'before-forward',
  'after-forward',
  'accept-committed',
  'batch-uncommitted',
  'batch-committed',
  'wake-told',
  'claim-committed',
  'intent-committed',
  'renewal-committed',
  'finish-committed',
  'lifecycle-committed',
  'admit-uncommitted',
  'admit-committed',
  'deadline-uncommitted',
  'deadline-committed',
  'webhook-taken',
  'webhook-sent',
  'webhook-concluded',
  'seal-uncommitted',
  'seal-committed',
  'pump-uncommitted',
  'pump-committed',
  'output-written',
  'work-write-committed',
] as const;
export type DebugPoint = (typeof DEBUG_POINTS)[number];

const [armed, action] = (process.env['WORKLOADD_DEBUG_POINT'] ?? '').split(':');

/**
 * For tests of crash safety. `WORKLOADD_DEBUG_POINT=<name>` kills the process (SIGKILL) the first time it comes by,
 * `<name>:stop` freezes it (SIGSTOP) until somebody continues or kills it. Does nothing without that variable.
 */
export function debugPoint(name: DebugPoint): void {
  if (armed === name) process.kill(process.pid, action === 'stop' ? 'SIGSTOP' : 'SIGKILL');
}
