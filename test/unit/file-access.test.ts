import { allows, mayReplaceIn, wayInto, type FileRights } from '../../domain/file-access';

const agent = { uid: 100, gids: [100, 200] };
const rights = (mode: number, uid = 0, gid = 0): FileRights => ({ uid, gid, mode });
const root = rights(0o755);

test('the first class that fits decides, as in the kernel', () => {
  expect(allows(rights(0o040), agent, 'read')).toBe(false);
  expect(allows(rights(0o004), agent, 'read')).toBe(true);
  expect(allows(rights(0o040, 0, 200), agent, 'read')).toBe(true);
  expect(allows(rights(0o004, 0, 200), agent, 'read')).toBe(false);
  expect(allows(rights(0o044, 100), agent, 'read')).toBe(false);
  expect(allows(rights(0o000), { uid: 0, gids: [] }, 'read')).toBe(true);
});

test('a readable file behind a folder that cannot be passed is safe, one behind 0711 folders is not', () => {
  expect(wayInto(rights(0o644), 'file', [root, rights(0o700)], agent)).toBeNull();
  expect(wayInto(rights(0o644), 'file', [root, rights(0o711)], agent)).toBe('can read it');
  expect(wayInto(rights(0o600), 'file', [root, rights(0o711)], agent)).toBeNull();
  expect(wayInto(rights(0o711), 'folder', [root], agent)).toBeNull();
  expect(wayInto(rights(0o755), 'folder', [root], agent)).toBe('can list it');
  expect(wayInto(rights(0o620, 0, 200), 'file', [root], agent)).toBe('can write it');
});

test('an owner can give itself every right, also of a folder above', () => {
  expect(wayInto(rights(0o000, 100), 'file', [root], agent)).toBe('owns it');
  expect(wayInto(rights(0o600), 'file', [root, rights(0o000, 100)], agent)).toBe('could replace it');
});

test('who may write a folder can replace what is in it, unless it is sticky and another owns it', () => {
  expect(wayInto(rights(0o600), 'file', [root, rights(0o777)], agent)).toBe('could replace it');
  expect(wayInto(rights(0o700), 'folder', [root, rights(0o1777)], agent)).toBeNull();
  expect(mayReplaceIn(rights(0o1777), 100, agent)).toBe(true);
  expect(mayReplaceIn(rights(0o722), 0, agent)).toBe(false);
});
