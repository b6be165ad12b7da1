import { execFile } from 'node:child_process';

/** How a command of the agent ended. */
export interface CommandEnd {
  /** Null when it was ended by a signal or could not be started. */
  exit_code: number | null;
  stdout: string;
  stderr: string;
}

const TIMEOUT_MS = 60_000;
const PLACE = /\{([a-z][a-z0-9_]*)\}/g;

/**
 * Runs a command as an agent would for a trigger line: the line is in `WORKLOAD_LINE`, and `{name}` in an argument stands for
 * that field of the line's `data`. Never fails; how it ended is the result.
 */
export function runAgentCommand(command: readonly string[], line: string): Promise<CommandEnd> {
  const data = dataOf(line);
  const [program = '', ...args] = command.map((part) =>
    part.replace(PLACE, (_place, name: string) => textOf(data[name])),
  );
  return new Promise((resolve) => {
    const env = { ...process.env, WORKLOAD_LINE: line };
    execFile(program, args, { env, timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      const failed = typeof error?.code === 'number' ? error.code : null;
      resolve({ exit_code: error ? failed : 0, stdout, stderr: stderr || (error?.message ?? '') });
    });
  });
}

function dataOf(line: string): Record<string, unknown> {
  const { data } = JSON.parse(line.slice(line.indexOf('{'))) as { data?: Record<string, unknown> };
  return data ?? {};
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));
