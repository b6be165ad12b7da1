import pino, { type DestinationStream, type Logger } from 'pino';

export interface LogOptions {
  logLevel: pino.LevelWithSilent;
  logFormat: 'json' | 'pretty';
}

/** Names under which a secret must never be printed, wherever they are. */
const SECRET_FIELDS = ['authorization', 'password', 'token', 'lease_token', 'credential', 'connectionString'];

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

/** Messages of our own errors, and of others the place they come from: the rest of them may quote anything. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { type: typeof error };
  const { name, message, stack, cause } = error;
  const code = (error as NodeJS.ErrnoException).code;
  return {
    type: name,
    message,
    ...(code === undefined ? {} : { code }),
    stack,
    ...(cause instanceof Error ? { cause: cause.message } : {}),
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
