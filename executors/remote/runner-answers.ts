/** What a runner's answer says. */
export type RunnerSaid =
  | { type: 'done'; exitCode: number; stdout: string }
  /** It has the job and is not done. */
  | { type: 'running'; jobId: string; cancellable: boolean }
  | { type: 'unusable'; why: string };

/**
 * Reads an answer to a submit (`expected` null) or to a poll for the job `expected`. An answer without a job id is final; one with
 * a job id is final only with `done: true`. Only an integer exit code counts.
 */
export function readAnswer(text: string, expected: string | null): RunnerSaid {
  const unusable = (why: string): RunnerSaid => ({ type: 'unusable', why });
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return unusable('returned an unparseable response');
  }
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return unusable('returned no object');
  const { jobId, done, exitCode, stdout, cancellable } = answer as Record<string, unknown>;
  if (jobId !== undefined && jobId !== null && typeof jobId !== 'string' && typeof jobId !== 'number') {
    return unusable('returned a job id that is no text');
  }
  const job = jobId === undefined || jobId === null || jobId === '' ? null : String(jobId);
  if (job !== null && job.length > 512) return unusable('returned a job id that is too long');
  if (expected !== null && job !== null && job !== expected) return unusable('answered for another job');
  if (expected !== null && job === null && done !== true) return unusable('answered for no job');
  if (job !== null && done !== true) return { type: 'running', jobId: job, cancellable: cancellable === true };
  if (!Number.isInteger(exitCode)) return unusable('did not report an exitCode');
  return { type: 'done', exitCode: exitCode as number, stdout: typeof stdout === 'string' ? stdout : '' };
}
