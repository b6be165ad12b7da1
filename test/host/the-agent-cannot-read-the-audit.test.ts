import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { eventually } from '../support/eventually';
import { startWorkloadd } from '../support/processes';
import { newDataDir, startUpProcess, type RunningUp } from '../support/up';

/** No user of this machine; it stands for OpenCrow's. */
const AGENT = 54_321;

/** What the agent tries, in a process of its own, told on stdin and answered on stdout. */
const ATTEMPTS = `
  const fs = require('node:fs');
  const net = require('node:net');
  const { folders, files, sockets, requests, secrets } = JSON.parse(fs.readFileSync(0, 'utf8'));
  const attempt = (work) => { try { work(); return 'worked'; } catch (error) { return error.code; } };
  const connect = (path) => new Promise((resolve) => {
    const socket = net.connect(path, () => { socket.destroy(); resolve('worked'); }).on('error', (error) => resolve(error.code));
  });
  const seen = fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => ['cmdline', 'environ'].map((what) => { try { return fs.readFileSync('/proc/' + pid + '/' + what, 'utf8'); } catch { return ''; } }));
  (async () => {
    const result = {
      uid: process.getuid(),
      folders: Object.fromEntries(folders.map((path) => [path, attempt(() => fs.readdirSync(path))])),
      files: Object.fromEntries(files.map((path) => [path, attempt(() => fs.readFileSync(path))])),
      writes: Object.fromEntries(folders.map((path) => [path, attempt(() => fs.writeFileSync(path + '/agent', ''))])),
      sockets: Object.fromEntries(await Promise.all(sockets.map(async (path) => [path, await connect(path)]))),
      statuses: await Promise.all(requests.map(({ url, headers }) => fetch(url, { headers }).then((answer) => answer.status))),
      commandLines: seen.filter(Boolean).length,
      secretsSeen: secrets.filter((secret) => seen.some((text) => text.includes(secret))).length,
    };
    process.stdout.write(JSON.stringify(result));
  })();
`;

interface Attempted {
  uid: number;
  folders: Record<string, string>;
  files: Record<string, string>;
  writes: Record<string, string>;
  sockets: Record<string, string>;
  statuses: number[];
  commandLines: number;
  secretsSeen: number;
}

function asAgent(input: object): Attempted {
  const output = execFileSync(process.execPath, ['-e', ATTEMPTS], {
    input: JSON.stringify(input),
    uid: AGENT,
    gid: AGENT,
    cwd: '/',
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
  });
  return JSON.parse(output) as Attempted;
}

const canBeAgent =
  process.getuid?.() === 0 &&
  spawnSync(process.execPath, ['-e', ''], { uid: AGENT, gid: AGENT, cwd: '/' }).status === 0;

(canBeAgent ? describe : describe.skip)(
  'another user of the host (skipped unless run as root, who can become one)',
  () => {
    const dataDir = newDataDir();
    const inData = (...names: string[]): string => path.join(dataDir, ...names);
    let up: RunningUp;

    beforeAll(async () => {
      // As it may have been left: open to everybody, and a service that starts without a mask.
      for (const folder of [dataDir, inData('workers'), inData('workers', 'local')]) {
        mkdirSync(folder);
        chmodSync(folder, 0o777);
      }
      for (const file of ['admin.token', 'worker.credential', 'temporal.log']) {
        writeFileSync(inData(file), '');
        chmodSync(inData(file), 0o666);
      }
      const umask = process.umask(0);
      try {
        up = await startUpProcess(dataDir, ['--lifecycle-socket-group', String(AGENT)]);
      } finally {
        process.umask(umask);
      }
      execFileSync('mkfifo', ['-m', '0660', inData('opencrow', 'trigger.pipe')]);
      chownSync(inData('opencrow', 'trigger.pipe'), AGENT, AGENT);
    }, 120_000);
    afterAll(() => up?.process.terminate(), 60_000);

    test('can neither read, list nor write what the service keeps, nor log in to its database', () => {
      const location = inData('postgres', 'location');
      const postgres = existsSync(location) ? readFileSync(location, 'utf8').trim() : inData('postgres');
      const folders = [
        dataDir,
        inData('workers'),
        inData('workers', 'local'),
        inData('workers', 'local', 'leases'),
        inData('workers', 'local', 'lifecycle'),
        inData('artifacts'),
        inData('postgres'),
        path.join(postgres, 'cluster'),
        path.join(postgres, 'sockets'),
      ];
      const files = ['admin.token', 'worker.credential', 'temporal.db', 'temporal.log', 'temporal-ports.json', 'postgres/superuser.password', 'postgres/server.log'].map((name) => inData(name)); // prettier-ignore
      const socket = path.join(postgres, 'sockets', '.s.PGSQL.5432');
      for (const each of [...folders, ...files, socket]) expect(existsSync(each)).toBe(true);
      const { uid, ...tried } = asAgent({ folders, files, sockets: [socket], requests: [], secrets: [] });
      expect(uid).toBe(AGENT);
      const results = [tried.folders, tried.files, tried.writes, tried.sockets].flatMap((each) => Object.entries(each));
      expect(results.length).toBe(folders.length * 2 + files.length + 1);
      expect(results.filter(([, result]) => result !== 'EACCES')).toEqual([]);
      expect(statSync(inData('admin.token')).mode & 0o777).toBe(0o600);
    });

    test('reaches the folder that it shares with the service, and the lifecycle socket', () => {
      const folder = inData('opencrow');
      expect(asAgent({ folders: [folder], files: [], sockets: [], requests: [], secrets: [] }).writes[folder]).toBe(
        'worked',
      );
      const { mode, gid } = statSync(path.join(folder, 'lifecycle.sock'));
      expect({ mode: mode & 0o777, gid }).toEqual({ mode: 0o660, gid: AGENT });
    });

    test('gets no audit by whatever bearer is in its reach, and sees no secret of another process', async () => {
      const file = inData('connector.token');
      const created = startWorkloadd(['token', 'create', '--name', 'c', '--scopes', 'events:write', '--out', file, '--data-dir', dataDir], { DATABASE_URL: '' }); // prettier-ignore
      expect(await created.ended).toMatchObject({ code: 0 });
      const [credential, connector] = [inData('worker.credential'), file].map((each) =>
        readFileSync(each, 'utf8').trim(),
      );
      const capability = `owc_0123456789abcdef_${'a'.repeat(43)}`;
      const urls = ['/api/audit', '/api/audit/export?format=ndjson'].map((route) => up.apiUrl + route);
      const bearers = [credential, connector, capability].map((each) => ({ authorization: `Bearer ${each}` }));
      const requests = urls.flatMap((url) => [...bearers, {}].map((headers) => ({ url, headers })));
      const password = readFileSync(inData('postgres', 'superuser.password'), 'utf8').trim();
      const tried = asAgent({
        folders: [],
        files: [],
        sockets: [],
        requests,
        secrets: [up.token, credential, connector, password],
      });
      expect(tried.statuses).toEqual([403, 403, 401, 401, 403, 403, 401, 401]);
      expect(tried.commandLines).toBeGreaterThan(3);
      expect(tried.secretsSeen).toBe(0);
    });

    test('is looked for by doctor, which says what it could read and where a token lies in its sight', async () => {
      const doctor = async (...more: string[]): Promise<{ code: number | null; text: string }> => {
        const run = startWorkloadd(['doctor', '--data-dir', dataDir, '--api-url', up.apiUrl, ...more], {
          DATABASE_URL: '',
          TEMPORAL_ADDRESS: '',
        });
        return { code: (await run.ended).code, text: run.stdout };
      };
      const good = await doctor('--agent-user', `${AGENT}:${AGENT}`, '--backends', 'node');
      expect(good.text).toMatch(new RegExp(`ok {4}agent user: uid ${AGENT} is not the service's`));
      expect({ code: good.code, text: good.text }).toEqual({ code: 0, text: expect.not.stringMatching(/FAIL|skip/) });

      chmodSync(inData('admin.token'), 0o604);
      const agentProcess = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
        uid: AGENT,
        gid: AGENT,
        cwd: '/',
        env: { N8N_TOKEN: up.token },
        stdio: 'ignore',
      });
      try {
        // Until exec, the child's environment is ours.
        await eventually(() => readFileSync(`/proc/${agentProcess.pid}/environ`, 'utf8').startsWith('N8N_TOKEN='));
        const bad = await doctor();
        expect(bad.code).toBe(1);
        expect(bad.text).toContain(`trigger.pipe) could get at ${inData('admin.token')} (can read it)`);
        expect(bad.text).toContain(
          `FAIL  agent processes: N8N_TOKEN in the environment of process ${agentProcess.pid} holds a secret`,
        );
        expect(bad.text).not.toContain(up.token);
      } finally {
        agentProcess.kill('SIGKILL');
        chmodSync(inData('admin.token'), 0o600);
      }
    }, 60_000);
  },
);
