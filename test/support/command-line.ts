import { spawn } from 'node:child_process';
import path from 'node:path';
import { temporaryFolder } from './temporary-folder';

const BIN = path.resolve(__dirname, '../../bin/workloadd.js');

/** How a command of `workloadd` ended, with all that it printed. */
export interface CommandEnd {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a command of `workloadd` to its end, in a folder of its own. `env` is added to our environment. */
export function commandLine(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CommandEnd> {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: temporaryFolder(),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  // Not `exit`, after which pipes still hold what was printed last.
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text })));
}
