import type { ReadAnswer } from './answer-reader';
import type { PrintedText } from './json-text-pieces';

/** What a runner's answer says. */
export type RunnerSaid =
  | { type: 'done'; exitCode: number; stdout: PrintedText | null }
  /** It has the job and is not done. */
  | { type: 'running'; jobId: string; cancellable: boolean }
  | { type: 'unusable'; why: string };

/**
 * What an answer to a submit (`expected` null) or to a poll for the job `expected` says. An answer without a job id is final; one
 * with a job id is final only with `done: true`. Only an integer exit code counts.
 */
export function judgeAnswer(answer: ReadAnswer | 'too-large', expected: string | null): RunnerSaid {
  const unusable = (why: string): RunnerSaid => ({ type: 'unusable', why });
  if (answer === 'too-large') return unusable('answered more than 32 MiB');
  const { value, stdout } = answer;
  if (value === undefined) return unusable('returned an unparseable response');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return unusable('returned no object');
  const { jobId, done, exitCode, cancellable } = value as Record<string, unknown>;
  if (jobId !== undefined && jobId !== null && typeof jobId !== 'string' && typeof jobId !== 'number') {
    return unusable('returned a job id that is no text');
  }
  const job = jobId === undefined || jobId === null || jobId === '' ? null : String(jobId);
  if (job !== null && job.length > 512) return unusable('returned a job id that is too long');
  if (expected !== null && job !== null && job !== expected) return unusable('answered for another job');
  if (expected !== null && job === null && done !== true) return unusable('answered for no job');
  if (job !== null && done !== true) return { type: 'running', jobId: job, cancellable: cancellable === true };
  if (!Number.isSafeInteger(exitCode)) return unusable('did not report an exitCode');
  return { type: 'done', exitCode: exitCode as number, stdout };
}
