import { FORCED_EXIT_CODE } from '../workers/run-process';

/** What the exit code of `workloadd` says. */
export const EXIT = {
  /** Done, or stopped in order. */
  ok: 0,
  /** It did not work, or `verify` found a disagreement; the message says why. */
  failure: 1,
  /** An option, an argument or a variable is wrong; nothing was done. */
  usage: 2,
  /** Another process uses the data dir. */
  inUse: 3,
  /** The control plane does not let this worker in: it is retired or revoked, or its credential is no good. */
  refused: 4,
  /** This worker does not fit its pool, by its version or by what it can do. */
  incompatible: 5,
  /** A second signal cut a stop short. */
  forced: FORCED_EXIT_CODE,
} as const;

/** The section of `--help`. */
export const EXIT_CODE_HELP = [
  'Exit codes:',
  '  0    done, stopped in order, or drained',
  '  1    it did not work, or verify found a disagreement; the last line on stderr says why',
  '  2    an option, an argument or a variable is wrong; nothing was done',
  '  3    another process uses the data dir',
  '  4    the worker is let in no more: retired or revoked, or its credential is revoked, expired or wrong',
  '  5    the worker does not fit its pool, by its version or by what it can do',
  '  130  a second signal cut the stop short',
].join('\n');

/** A failure with an exit code of its own. */
export class CommandFailed extends Error {
  constructor(
    message: string,
    readonly exitCode: number = EXIT.failure,
  ) {
    super(message);
    this.name = 'CommandFailed';
  }
}
