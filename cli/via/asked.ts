import { randomUUID } from 'node:crypto';
import type { PostedEvent } from '../../contracts/events';
import type { ViaRecord } from './via-record';

/** A command as it was asked for on the command line. What was left out is up to the rule. */
export interface Asked {
  backend: string;
  command: string;
  args: readonly string[];
  cwd?: string | undefined;
  sandbox?: string | undefined;
  image?: string | undefined;
  digest?: string | undefined;
  endpoint?: string | undefined;
  jobId?: string | undefined;
  timeoutMs?: number | undefined;
  label?: string | undefined;
}

const SUBJECT_CHARS = 256;

/** The source event of a command. Its id is new each time: asked for twice, it runs twice. */
export function eventOf(asked: Asked): PostedEvent {
  const { backend, command, args, cwd = '.', sandbox = 'default', image, digest, endpoint, label } = asked;
  const subject = (label ?? command).slice(0, SUBJECT_CHARS).replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ');
  return {
    source: 'exec',
    action: 'run',
    event_id: randomUUID(),
    ...(subject.trim() === '' ? {} : { subject }),
    data: {
      backend,
      command,
      args: [...args],
      cwd,
      sandbox,
      ...(image === undefined ? {} : { image }),
      ...(digest === undefined ? {} : { digest }),
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(asked.jobId === undefined ? {} : { job_id: asked.jobId }),
      ...(asked.timeoutMs === undefined ? {} : { timeout_ms: asked.timeoutMs }),
      ...(label === undefined ? {} : { label }),
    },
  };
}

/** Where the rule has it run otherwise than it was asked for, each in a clause. What was not asked for is no difference. */
export function differences(asked: Asked, { executor, decision }: ViaRecord): string[] {
  const run = decision?.run;
  const pairs: [string, unknown, unknown][] = [['backend', asked.backend, executor]];
  if (run) {
    pairs.push(
      ['command', [asked.command, ...asked.args], [run.command, ...run.args]],
      ['cwd', asked.cwd, run.cwd],
      ['sandbox', asked.sandbox, run.sandbox],
      ['timeout', asked.timeoutMs, run.timeout],
      ['image', asked.image, run.image],
      ['digest', asked.digest, run.digest],
      ['endpoint', asked.endpoint, run.endpoint],
      ['job', asked.jobId, run.job_id],
    );
  }
  return pairs
    .filter(([, wanted, given]) => wanted !== undefined && JSON.stringify(wanted) !== JSON.stringify(given))
    .map(([what, wanted, given]) => `${what} ${text(given)} instead of ${text(wanted)}`);
}

const text = (value: unknown): string =>
  value === null || value === undefined ? 'the default' : typeof value === 'string' ? value : JSON.stringify(value);
