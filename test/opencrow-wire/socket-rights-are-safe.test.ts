import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { sendDatagram } from '../../examples/simulated-opencrow/lifecycle-emitter';
import { bindInto } from '../../executors/opencrow/bind-into';
import { bindDatagramSocket, type BoundDatagramSocket } from '../../executors/opencrow/datagram-socket';
import { eventually } from '../support/eventually';
import { temporaryFolder } from '../support/temporary-folder';

const received: string[] = [];
const open: BoundDatagramSocket[] = [];
async function bind(path: string, mode: number, groupId: number | null = null): Promise<void> {
  const onError = (error: Error): never => {
    throw error;
  };
  const onDatagram = (datagram: Buffer): void => void received.push(datagram.toString());
  open.push(await bindDatagramSocket({ path, mode, groupId, onDatagram, onError }));
}
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
  received.length = 0;
});

test.each([0o000, 0o022, 0o777])('a socket has exactly its mode under umask %o, and works', async (umask) => {
  const folder = temporaryFolder();
  const path = join(folder, 'l.sock');
  const before = process.umask(umask);
  try {
    await bind(path, 0o620, process.getgid!());
  } finally {
    process.umask(before);
  }
  expect(statSync(path).mode & 0o777).toBe(0o620);
  expect(statSync(path).gid).toBe(process.getgid!());
  expect(readdirSync(folder)).toEqual(['l.sock']);
  expect(await sendDatagram(path, Buffer.from('heard'), 100)).toBeNull();
  await eventually(() => received.length === 1);
});

test('while it is bound, nobody else can get at it: its rights are set before it appears', () => {
  const folder = temporaryFolder();
  const path = join(folder, 'l.sock');
  let seen = '';
  bindInto(path, {
    mode: 0o660,
    groupId: null,
    bind: (draft) => {
      const [name] = readdirSync(folder);
      expect(statSync(join(folder, name!)).mode & 0o777).toBe(0o700);
      expect(existsSync(path)).toBe(false);
      seen = draft;
      writeFileSync(draft, '');
    },
  });
  expect(seen).toMatch(process.platform === 'linux' ? /^\/proc\/self\/fd\/\d+\/s$/ : /\/s$/);
  expect(statSync(path).mode & 0o777).toBe(0o660);
});

test('a symbolic link at the path is replaced or refused, and what it points to keeps its rights', async () => {
  const folder = temporaryFolder();
  const victim = join(folder, 'victim');
  writeFileSync(victim, 'kept', { mode: 0o600 });
  const path = join(folder, 'l.sock');
  symlinkSync(victim, path);
  await expect(bind(path, 0o666)).rejects.toThrow('something that is no socket is in the way');
  bindInto(path, { mode: 0o666, groupId: null, bind: (draft) => writeFileSync(draft, '') });
  expect(lstatSync(path).isSymbolicLink()).toBe(false);
  expect(statSync(victim).mode & 0o777).toBe(0o600);
  expect(readFileSync(victim, 'utf8')).toBe('kept');
});

test('a folder swapped in while it binds is never written to', () => {
  const folder = temporaryFolder();
  const elsewhere = temporaryFolder();
  writeFileSync(join(elsewhere, 's'), 'kept', { mode: 0o600 });
  bindInto(join(folder, 'l.sock'), {
    mode: 0o666,
    groupId: null,
    bind: (draft) => {
      const [name] = readdirSync(folder);
      renameSync(join(folder, name!), join(folder, 'moved'));
      symlinkSync(elsewhere, join(folder, name!));
      writeFileSync(draft, 'ours');
    },
  });
  expect(readFileSync(join(folder, 'l.sock'), 'utf8')).toBe('ours');
  expect(readFileSync(join(elsewhere, 's'), 'utf8')).toBe('kept');
  expect(statSync(join(elsewhere, 's')).mode & 0o777).toBe(0o600);
});

test('what a killed process left while binding is cleared away', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, '.l.sock-dead00'));
  writeFileSync(join(folder, '.l.sock-dead00', 's'), '');
  chmodSync(folder, 0o755);
  await bind(join(folder, 'l.sock'), 0o600);
  expect(readdirSync(folder)).toEqual(['l.sock']);
});
