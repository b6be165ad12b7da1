import { spawn } from 'node:child_process';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { median, round } from './measure';

const MIB = 1024 * 1024;
const SIZES = [1, 8, 31] as const;
/** Who reads the output: see {@link ./output-reader}. */
const READERS = ['bare', 'node', 'remote'] as const;
type Reader = (typeof READERS)[number];
const TIMES = 5;

/** How much the peak of a process's memory grew while it took so much output, MiB. */
export interface MemoryGrowth {
  reader: Reader;
  outputMiB: number;
  growthMiB: number;
}

/**
 * How the peak memory of a process grows with the output that it hashes: read from a bare pipe, by the node backend, and by the remote
 * backend from a runner's answer. Each in processes of its own, the median of five.
 */
export async function compareOutputMemory(log: (text: string) => void): Promise<MemoryGrowth[]> {
  const runner = await startRunner();
  const { port } = runner.address() as AddressInfo;
  try {
    const grown: MemoryGrowth[] = [];
    for (const reader of READERS) {
      for (const outputMiB of SIZES) {
        log(`${outputMiB} MiB of output, ${reader}`);
        const seen: number[] = [];
        for (let index = 0; index < TIMES; index += 1) seen.push(await growthOf(reader, outputMiB, port));
        grown.push({ reader, outputMiB, growthMiB: median(seen) });
      }
    }
    return grown;
  } finally {
    runner.close();
    runner.closeAllConnections();
  }
}

async function growthOf(reader: Reader, outputMiB: number, runnerPort: number): Promise<number> {
  const script = path.resolve(__dirname, 'output-reader.js');
  const child = spawn(
    process.execPath,
    ['--expose-gc', script, reader, String(outputMiB * MIB), `http://127.0.0.1:${runnerPort}/`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const printed = await text(child.stdout);
  if ((await ended) !== 0) throw new Error(`reading ${outputMiB} MiB (${reader}) failed`);
  return round(Number(printed) / MIB);
}

/** Answers each job at once with as much output as its first argument says. */
function startRunner(): Promise<http.Server> {
  const server = http.createServer((request, response) => {
    void text(request).then((body) => {
      const { args } = JSON.parse(body) as { args: string[] };
      response.setHeader('content-type', 'application/json');
      response.write('{"exitCode":0,"stdout":"');
      const line = Buffer.from(`${'x'.repeat(1022)}\\n`);
      for (let left = Number(args[1]); left > 0; left -= 1023) response.write(line);
      response.end('"}');
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
