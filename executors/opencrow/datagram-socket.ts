import { lstatSync, unlinkSync } from 'node:fs';
import { DgramSocket } from 'node-unix-socket';
import { bindInto } from './bind-into';

/** Longest path of a Unix socket on Linux, in bytes. */
const MAX_SOCKET_PATH_BYTES = 107;

/** How long a probe waits for a listener that is alive but does not read. */
const PROBE_MS = 500;

export interface DatagramSocketOptions {
  path: string;
  mode: number;
  groupId: number | null;
  onDatagram: (datagram: Buffer) => void;
  onError: (error: Error) => void;
}

/** A bound datagram socket, and the file it was bound to. */
export interface BoundDatagramSocket {
  /** Stops receiving and removes the socket file. */
  close(): void;
  /** Stops receiving; the path belongs to a later socket. */
  leave(): void;
  /** The file at the path is still the one that was bound. */
  isInPlace(): boolean;
}

/**
 * Binds a Unix datagram socket. Takes away a socket file that nobody listens on; rejects when somebody does, when the path
 * holds something else, or when it is too long.
 *
 * Datagrams above 65,535 bytes arrive cut off. Empty ones are probes of this function and are not passed on.
 */
export async function bindDatagramSocket(options: DatagramSocketOptions): Promise<BoundDatagramSocket> {
  const { path, mode, groupId } = options;
  const length = Buffer.byteLength(path);
  if (length > MAX_SOCKET_PATH_BYTES) {
    throw new Error(`the socket path has ${length} bytes, the limit is ${MAX_SOCKET_PATH_BYTES}: ${path}`);
  }
  await removeStaleSocket(path);
  const socket = new DgramSocket();
  socket.on('error', options.onError);
  socket.on('data', (datagram: Buffer) => {
    if (datagram.length > 0) options.onDatagram(datagram);
  });
  try {
    bindInto(path, { mode, groupId, bind: (draft) => socket.bind(draft) });
  } catch (error) {
    socket.close();
    throw new Error(`cannot bind ${path}: ${(error as Error).message}`, { cause: error });
  }
  const bound = inodeOf(path);
  const isInPlace = (): boolean => inodeOf(path) === bound;
  const close = (): void => {
    socket.close();
    if (isInPlace()) unlinkSync(path);
  };
  return { close, leave: () => socket.close(), isInPlace };
}

async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw new Error(`something that is no socket is in the way: ${path}`);
  if (await isListenedOn(path)) throw new Error(`another process listens on ${path}`);
  unlinkSync(path);
}

/** Sends an empty datagram. Refused means that the listener is gone; anything else that there may be one. */
function isListenedOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = new DgramSocket();
    const done = (listened: boolean): void => {
      clearTimeout(timer);
      probe.close();
      resolve(listened);
    };
    const timer = setTimeout(() => done(true), PROBE_MS);
    probe.on('error', () => done(true));
    probe.sendTo(Buffer.alloc(0), 0, 0, path, (error) => done(!/refused/i.test(error?.message ?? '')));
  });
}

function inodeOf(path: string): string | null {
  const stat = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return stat ? `${stat.dev}:${stat.ino}` : null;
}
