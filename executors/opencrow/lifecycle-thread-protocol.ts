import type { SpoolPosition } from '../spool/spool-format';
import type { SpoolAlarm } from '../spool/spool-writer';

/** What the lifecycle thread is started with. */
export interface LifecycleThreadInput {
  socketPath: string;
  /** Permission bits of the socket. */
  mode: number;
  /** Group id of the socket; null leaves it to the process. */
  groupId: number | null;
  spoolFolder: string;
  spoolMaxBytes: number | null;
}

/** What the lifecycle thread says. */
export type LifecycleThreadMessage =
  | { type: 'ready' }
  /** It cannot listen or not store: it ends after this. */
  | { type: 'failed'; message: string }
  /** All before the position may be forwarded; `received` datagrams since the thread's start. */
  | { type: 'durable'; position: SpoolPosition; received: number }
  | { type: 'alarm'; alarm: SpoolAlarm }
  /** The socket file was removed or replaced. `bound` says whether the thread listens on the path again. */
  | { type: 'rebound'; bound: boolean; message: string };

/** The only order the lifecycle thread takes: stop receiving, sync what was received, end. */
export const STOP_THREAD = 'stop';
