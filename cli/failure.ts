import { CommanderError } from 'commander';
import { Problem } from '../contracts/problems';
import { LedgerError } from '../ledger/database';
import { ConfigError } from './config';
import { CommandFailed, EXIT } from './exit-codes';

/** What to print of a failure, and the exit code. Each line is one problem with its next step; no stack, no secret. */
export function explain(error: unknown): { text: string; code: number } {
  if (error instanceof CommanderError) return { text: '', code: error.exitCode === 0 ? EXIT.ok : EXIT.usage };
  if (error instanceof ConfigError)
    return { text: error.problems.map((problem) => `error: ${problem}`).join('\n'), code: EXIT.usage };
  if (error instanceof CommandFailed) {
    return { text: error.message === '' ? '' : `error: ${error.message}`, code: error.exitCode };
  }
  if (error instanceof Problem && error.code === 'ledger.unavailable') {
    const hint = 'see that it runs, that its URL is right and that the database exists';
    return { text: `error: ${error.message} (${hint})`, code: EXIT.failure };
  }
  if (error instanceof Problem && error.errors) {
    const broken = error.errors.map(({ pointer, detail }) => `${pointer} ${detail}`);
    return { text: `error: ${error.message} (${broken.join('; ')})`, code: EXIT.failure };
  }
  if (error instanceof LedgerError) return { text: `error: ${explainLedger(error)}`, code: EXIT.failure };
  if (error instanceof Error) return { text: `error: ${oneLine(error)}`, code: exitCodeOf(error) };
  return { text: 'error: unknown failure', code: EXIT.failure };
}

function explainLedger({ code, message }: LedgerError): string {
  if (/^28/.test(code)) return `the ledger database refused the user or the password (${code}): correct its URL`;
  if (code === '42P01') return 'the ledger has no tables yet: run `workloadd migrate`';
  if (code === '42501') return `the database user lacks rights (${code}): grant them, or migrate with another user`;
  return message;
}

function oneLine(error: Error): string {
  const cause =
    error.cause instanceof Error && !error.message.includes(error.cause.message) ? ` (${error.cause.message})` : '';
  return `${error.message}${cause}`.replaceAll(/\s*\n\s*/g, ' ');
}

const exitCodeOf = (error: Error): number => (/^another workloadd\b/.test(error.message) ? EXIT.inUse : EXIT.failure);
