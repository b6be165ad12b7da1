import { spawn } from 'node:child_process';

/** Runs `true` with its output read through pipes, as anybody would who wants to see it; gives its exit code. */
export function spawnTrue(): Promise<number | null> {
  const child = spawn('true', [], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.resume();
  child.stderr.resume();
  return new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
}
