import path from 'node:path';
import { nodeBackend } from '../../executors/node/node-backend';
import { bindDatagramSocket } from '../../executors/opencrow/datagram-socket';
import { eventually } from '../support/eventually';
import { temporaryFolder } from '../support/temporary-folder';
import { execute } from './harness';

const bind = (at: string): ReturnType<typeof bindDatagramSocket> =>
  bindDatagramSocket({ path: at, mode: 0o600, groupId: null, onDatagram: () => undefined, onError: () => undefined });

test('a command that outlives its worker does not keep the lifecycle socket from the next one', async () => {
  const cwd = temporaryFolder();
  const at = path.join(cwd, 'lifecycle.sock');
  const end = new AbortController();
  let printed = '';
  let bound = await bind(at);
  const run = execute(
    nodeBackend,
    { command: 'sh', args: ['-c', 'echo up; exec sleep 60'], cwd },
    { context: { signal: end.signal, output: (_, chunk) => (printed += Buffer.from(chunk).toString()) } },
  );
  try {
    await eventually(() => expect(printed).toBe('up\n'));
    // As a kill does: the socket is closed, and its file stays.
    bound.leave();
    bound = await bind(at);
  } finally {
    bound.close();
    end.abort();
    await run;
  }
});
