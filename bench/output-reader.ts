import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { bundledProfile } from '../domain/execution/sandbox-profiles';
import type { Backend } from '../executors/backend';
import { nodeBackend } from '../executors/node/node-backend';
import { remoteBackend } from '../executors/remote/remote-backend';
import { runCommand } from '../executors/run-command';

/** Takes so much output of `head` in one way and prints by how many bytes the peak of this process grew meanwhile. */
async function main([reader, bytes, endpoint]: readonly string[]): Promise<void> {
  const take = readerOf(reader!, endpoint!);
  // Code and first buffers are there before it is measured.
  await take(64 * 1024);
  globalThis.gc?.();
  const before = process.resourceUsage().maxRSS;
  await take(Number(bytes));
  process.stdout.write(String((process.resourceUsage().maxRSS - before) * 1024));
}

function readerOf(reader: string, endpoint: string): (bytes: number) => Promise<void> {
  switch (reader) {
    case 'bare':
      return bareRead;
    case 'node':
      return (bytes) => run(nodeBackend, bytes);
    case 'remote':
      return (bytes) => run(remoteBackend({ privateHosts: ['127.0.0.1'] }), bytes, endpoint);
    default:
      throw new Error(`unknown reader ${reader}`);
  }
}

const printing = (bytes: number): string[] => ['-c', String(bytes), '/dev/zero'];

function bareRead(bytes: number): Promise<void> {
  const hash = createHash('sha256');
  const child = spawn('head', printing(bytes), { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.on('data', (chunk: Buffer) => void hash.update(chunk));
  return new Promise((resolve, reject) => child.once('error', reject).once('close', () => resolve()));
}

async function run(backend: Backend, bytes: number, endpoint?: string): Promise<void> {
  const request = { command: 'head', args: printing(bytes), cwd: process.cwd(), endpoint };
  const { status, result } = await runCommand(backend, request, bundledProfile('default')!, {
    signal: new AbortController().signal,
    hostEnv: process.env,
    runKey: `bench-${process.pid}-${bytes}`,
    output: () => undefined,
  });
  if (status !== 'completed') throw new Error(result.summary);
}

void main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
