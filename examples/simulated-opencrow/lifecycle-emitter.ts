import { DgramSocket } from 'node-unix-socket';
import type { InboxRow } from './inbox';
import type { WorkloadMetadata } from './workload-grammar';

const SEND_DEADLINE_MS = 100;

/** Sends lifecycle datagrams as OpenCrow does: one socket each, 100 ms, no retry, no store. */
export class LifecycleEmitter {
  constructor(
    /** Empty: events are off. */
    private readonly socketPath: string,
    private readonly instance: string,
  ) {}

  /** The datagram of one event, with OpenCrow's field order. */
  encode(row: InboxRow, metadata: WorkloadMetadata, status: string, details: Record<string, unknown>): Buffer {
    const attempt = row.attempt + 1;
    const event = {
      version: 1,
      type: 'workload.lifecycle',
      event_id: `opencrow:${this.instance}:${row.id}:${attempt}:${status}`,
      workload_id: metadata.workload_id,
      source_event_id: metadata.event_id,
      source: metadata.source,
      action: metadata.action,
      status,
      occurred_at: new Date().toISOString(),
      opencrow_instance: this.instance,
      inbox_id: row.id,
      attempt,
      details,
    };
    const escaped = JSON.stringify(event).replace(
      /[<>&\u2028\u2029]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    return Buffer.from(escaped);
  }

  /** Sends one datagram; the error text when it was lost. */
  send(datagram: Buffer): Promise<string | null> {
    return this.socketPath === '' ? Promise.resolve(null) : sendDatagram(this.socketPath, datagram, SEND_DEADLINE_MS);
  }
}

/** Sends one datagram to a path; resolves with null or with why it was lost. */
export function sendDatagram(path: string, datagram: Buffer, deadlineMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = new DgramSocket();
    const done = (error: string | null): void => {
      clearTimeout(timer);
      socket.close();
      resolve(error);
    };
    const timer = setTimeout(() => done('deadline exceeded'), deadlineMs);
    socket.on('error', (error: Error) => done(error.message));
    socket.sendTo(datagram, 0, datagram.length, path, (error) => done(error ? error.message : null));
  });
}
