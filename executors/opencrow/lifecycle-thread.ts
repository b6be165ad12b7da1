import { parentPort, workerData } from 'node:worker_threads';
import { debugPoint } from '../../domain/debug-point';
import { SpoolWriter } from '../spool/spool-writer';
import { bindDatagramSocket, type BoundDatagramSocket } from './datagram-socket';
import { STOP_THREAD, type LifecycleThreadInput, type LifecycleThreadMessage } from './lifecycle-thread-protocol';

/** How often the thread looks whether its socket file is still there. */
const LOOK_EVERY_MS = 5_000;

/**
 * The thread that receives OpenCrow's lifecycle datagrams. OpenCrow gives up on a datagram after 100 ms and the kernel
 * keeps about ten: so this thread does nothing but read and append, and is never held up by the rest of the process.
 */
async function receiveLifecycle(input: LifecycleThreadInput): Promise<void> {
  let received = 0;
  const spool = new SpoolWriter({
    folder: input.spoolFolder,
    ...(input.spoolMaxBytes === null ? {} : { maxBytes: input.spoolMaxBytes }),
    onDurable: (position) => say({ type: 'durable', position, received }),
    onAlarm: limited((alarm) => say({ type: 'alarm', alarm })),
  });
  const bind = (): Promise<BoundDatagramSocket> =>
    bindDatagramSocket({
      path: input.socketPath,
      mode: input.mode,
      groupId: input.groupId,
      onDatagram: (datagram) => {
        received += 1;
        spool.append(datagram);
        debugPoint('after-append');
      },
      onError: (error) => fail(error),
    });
  let socket = await bind();
  say({ type: 'ready' });
  const look = setInterval(() => {
    if (socket.isInPlace()) return;
    void bind().then(
      (again) => {
        socket.leave();
        socket = again;
        say({ type: 'rebound', bound: true, message: 'the socket file was gone' });
      },
      (error: unknown) => say({ type: 'rebound', bound: false, message: messageOf(error) }),
    );
  }, LOOK_EVERY_MS);
  parentPort?.on('message', (message) => {
    if (message !== STOP_THREAD) return;
    clearInterval(look);
    socket.close();
    void spool.close().then(() => parentPort?.close());
  });
}

function say(message: LifecycleThreadMessage): void {
  parentPort?.postMessage(message);
}

function fail(error: unknown): void {
  say({ type: 'failed', message: messageOf(error) });
  setImmediate(() => process.exit(1));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** At most one call a second, but always one for another kind of alarm. */
function limited(report: (alarm: Parameters<ConstructorParameters<typeof SpoolWriter>[0]['onAlarm']>[0]) => void) {
  let last = { kind: '', at: 0 };
  return (alarm: Parameters<typeof report>[0]): void => {
    if (alarm.kind === last.kind && Date.now() - last.at < 1_000) return;
    last = { kind: alarm.kind, at: Date.now() };
    report(alarm);
  };
}

receiveLifecycle(workerData as LifecycleThreadInput).catch(fail);
