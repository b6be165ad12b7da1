import pino, { type DestinationStream, type Logger } from 'pino';
import { Problem } from '../contracts/problems';
import { ControlPlaneUnavailable } from '../executors/control-plane-client';
import { LedgerError } from '../ledger/database';
import { ConfigError } from './config';
import { CommandFailed } from './exit-codes';

export interface LogOptions {
  logLevel: pino.LevelWithSilent;
  logFormat: 'json' | 'pretty';
}

/** Names under which a secret must never be printed, wherever they are. */
const SECRET_FIELDS = ['authorization', 'password', 'token', 'lease_token', 'credential', 'connectionString'];

/** Errors whose messages are written here and hold ids and codes only. */
const OWN_ERRORS = [Problem, LedgerError, ControlPlaneUnavailable, ConfigError, CommandFailed];

/** The log of a process: on stderr and written at once, so that nothing is lost when the process is killed. */
export function createLogger({ logLevel, logFormat }: LogOptions): Logger {
  const stderr = pino.destination({ fd: 2, sync: true });
  return pino(
    {
      level: logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
      serializers: { err: describeError, error: (value: unknown) => value },
    },
    logFormat === 'json' ? stderr : readable(stderr),
  );
}

/** Errors of the language and of libraries, whose messages may quote whatever they were given. */
const quotes = (error: Error): boolean =>
  error.constructor !== Error && !OWN_ERRORS.some((own) => error instanceof own);

/** Name, code and place of an error; the message only of our own and of plain ones. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { type: typeof error };
  const { name, message, stack, cause } = error;
  const code = (error as NodeJS.ErrnoException).code;
  const frames = stack?.split('\n').filter((line) => /^\s+at /.test(line));
  return {
    type: name,
    ...(quotes(error) ? {} : { message }),
    ...(code === undefined ? {} : { code }),
    ...(frames === undefined ? {} : { stack: frames.join('\n') }),
    ...(cause instanceof Error ? { cause: quotes(cause) ? cause.name : cause.message } : {}),
  };
}

/** `time level message field=value …` instead of JSON. */
function readable(stream: DestinationStream): DestinationStream {
  return {
    write(line) {
      const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const rest = Object.entries(fields).map(
        ([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      );
      stream.write(`${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${String(msg)}${rest.join('')}\n`);
    },
  };
}
