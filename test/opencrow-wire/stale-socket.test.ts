import { existsSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sendDatagram } from '../../examples/simulated-opencrow/lifecycle-emitter';
import { bindDatagramSocket, type BoundDatagramSocket } from '../../executors/opencrow/datagram-socket';
import { eventually } from '../support/eventually';
import { startScript } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

const received: string[] = [];
const open: BoundDatagramSocket[] = [];
async function bind(path: string, mode = 0o660): Promise<BoundDatagramSocket> {
  const onError = (error: Error): never => {
    throw error;
  };
  const onDatagram = (datagram: Buffer): void => void received.push(datagram.toString());
  const socket = await bindDatagramSocket({ path, mode, groupId: null, onDatagram, onError });
  open.push(socket);
  return socket;
}
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
  received.length = 0;
});

test('a socket file that a killed process left is replaced', async () => {
  const path = join(temporaryFolder(), 'l.sock');
  const script = `
    const { DgramSocket } = require('node-unix-socket');
    new DgramSocket().bind(process.argv.at(-1));
    setInterval(() => {}, 1000);
    process.stdout.write('bound');`;
  const dying = startScript(script, [path]);
  await dying.output(/bound/);
  await dying.kill9();
  expect(existsSync(path)).toBe(true);
  expect(await sendDatagram(path, Buffer.from('lost'), 100)).toMatch(/refused/i);
  await bind(path, 0o622);
  expect(statSync(path).mode & 0o777).toBe(0o622);
  expect(await sendDatagram(path, Buffer.from('heard'), 100)).toBeNull();
  await eventually(() => received.length === 1);
  expect(received).toEqual(['heard']);
});

test('a socket that somebody listens on is refused, and its listener hears nothing of it', async () => {
  const path = join(temporaryFolder(), 'l.sock');
  await bind(path);
  await expect(bind(path)).rejects.toThrow(`another process listens on ${path}`);
  expect(await sendDatagram(path, Buffer.from('still there'), 100)).toBeNull();
  await eventually(() => received.length > 0);
  expect(received).toEqual(['still there']);
});

test('anything but a socket is refused and left alone', async () => {
  const path = join(temporaryFolder(), 'l.sock');
  writeFileSync(path, 'kept');
  await expect(bind(path)).rejects.toThrow('something that is no socket is in the way');
  expect(readFileSync(path, 'utf8')).toBe('kept');
});

test('a path that is too long is refused with its length and the limit', async () => {
  const path = join(temporaryFolder(), 'x'.repeat(120));
  await expect(bind(path)).rejects.toThrow(/has \d{3} bytes, the limit is 107/);
});

test('a folder that is not there is named', async () => {
  const path = join(temporaryFolder(), 'missing', 'l.sock');
  await expect(bind(path)).rejects.toThrow(/^cannot bind \S+l\.sock: .*no such file/i);
});

test('it knows when its file was removed, and removes only its own when it closes', async () => {
  const path = join(temporaryFolder(), 'l.sock');
  const socket = await bind(path);
  expect(socket.isInPlace()).toBe(true);
  unlinkSync(path);
  expect(socket.isInPlace()).toBe(false);
  writeFileSync(path, "somebody else's");
  socket.leave();
  expect(existsSync(path)).toBe(true);
  open.length = 0;
});
