import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Somebody else holds the lock. */
export class LockHeldError extends Error {
  constructor(
    /** The holder's process id; null when it did not answer. */
    readonly holderPid: number | null,
  ) {
    super(`held by ${holderPid === null ? 'a process that does not answer' : `pid ${holderPid}`}`);
    this.name = 'LockHeldError';
  }
}

/** A lock that is held until it is released or the process ends, however it ends. */
export interface ExclusiveLock {
  release(): Promise<void>;
}

/**
 * Takes the machine-wide lock of this name, or throws {@link LockHeldError}. The lock is a listening Unix socket: the kernel
 * frees it with the process, kill -9 included, so there is nothing stale to clean up. On Linux the socket is an abstract one,
 * which two containers share only if they share their network namespace.
 */
export async function acquireExclusiveLock(name: string): Promise<ExclusiveLock> {
  const address = lockAddress(name);
  for (;;) {
    const server = await listen(address);
    if (server) return { release: () => new Promise((resolve) => server.close(() => resolve())) };
    const holder = await askHolder(address);
    if (holder.alive) throw new LockHeldError(holder.pid);
    // A socket file of a process that has ended (not Linux), or a holder that ended just now.
    if (!address.startsWith('\0')) rmSync(address, { force: true });
  }
}

/** As {@link acquireExclusiveLock}, but waits for the holder; `onWait` is told once, with the holder's pid. */
export async function waitForExclusiveLock(
  name: string,
  onWait: (holderPid: number | null) => void,
): Promise<ExclusiveLock> {
  for (let told = false; ; told = true) {
    try {
      return await acquireExclusiveLock(name);
    } catch (error) {
      if (!(error instanceof LockHeldError)) throw error;
      if (!told) onWait(error.holderPid);
    }
    await sleep(250);
  }
}

function lockAddress(name: string): string {
  const hash = createHash('sha256').update(name).digest('hex');
  if (process.platform !== 'linux') return path.join(os.tmpdir(), `workloadd-${hash.slice(0, 32)}.lock`);
  // As long as an address can be: shorter ones are padded by some Node versions and not by others.
  return `\0opencrow-workloadd/${hash}`.padEnd(108, '/');
}

/** Null when the address is taken. Tells everybody who connects our process id. */
function listen(address: string): Promise<net.Server | null> {
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(String(process.pid));
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

function askHolder(address: string): Promise<{ alive: boolean; pid: number | null }> {
  return new Promise((resolve) => {
    const socket = net.connect(address);
    let answer = '';
    socket.setEncoding('utf8');
    socket.setTimeout(2000, () => {
      socket.destroy();
      resolve({ alive: true, pid: null });
    });
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('end', () => resolve({ alive: true, pid: Number(answer) || null }));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve({ alive: error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT', pid: null });
    });
  });
}
