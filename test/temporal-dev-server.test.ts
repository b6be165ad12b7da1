import { chmodSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Connection } from '@temporalio/client';
import { isRunning } from '../ledger/background-process';
import { startTemporalDevServer, stopTemporalDevServer } from '../workers/temporal-dev-server';
import { findTemporalBinary } from '../workers/temporal-dev-server/find-binary';
import { startScript } from './support/processes';
import { temporaryFolder } from './support/temporary-folder';

const searchAttributes = ['WorkloadState', 'WorkloadPool'];

const OWNER = `
  const [dataDir] = process.argv.slice(1);
  require('$dist/workers/temporal-dev-server')
    .startTemporalDevServer({ dataDir, searchAttributes: ${JSON.stringify(searchAttributes)} })
    .then((server) => { console.log('server ' + server.pid + ' at ' + server.address); setInterval(() => {}, 1000); });
`;

const dataDirs: string[] = [];
function newDataDir(): string {
  const folder = temporaryFolder();
  dataDirs.push(folder);
  return folder;
}
afterEach(async () => {
  for (const dataDir of dataDirs.splice(0)) await stopTemporalDevServer(dataDir);
});

async function attributesAt(address: string): Promise<string[]> {
  const connection = await Connection.connect({ address });
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
    return Object.keys(customAttributes);
  } finally {
    await connection.close();
  }
}

describe("Temporal's dev server", () => {
  test('is ready, with its search attributes, when it is said to be, and comes back on the same ports', async () => {
    const dataDir = newDataDir();
    const first = await startTemporalDevServer({ dataDir, searchAttributes });
    await expect(attributesAt(first.address)).resolves.toEqual(expect.arrayContaining(searchAttributes));
    await expect(fetch(first.uiUrl).then((response) => response.status)).resolves.toBe(200);
    await first.stop();
    expect(isRunning(first.pid)).toBe(false);

    const second = await startTemporalDevServer({ dataDir, searchAttributes });

    expect(second).toMatchObject({ adopted: false, address: first.address, uiUrl: first.uiUrl });
    await second.stop();
  });

  test('is taken over after kill -9 of its owner', async () => {
    const dataDir = newDataDir();
    const owner = startScript(OWNER, [dataDir]);
    const [, pid, address] = await owner.output(/server (\d+) at (\S+)/);
    await owner.kill9();

    const server = await startTemporalDevServer({ dataDir, searchAttributes });

    expect(server).toMatchObject({ adopted: true, pid: Number(pid), address });
    await server.stop();
    expect(isRunning(Number(pid))).toBe(false);
  });

  test('is replaced when the one left running was started with other settings', async () => {
    const dataDir = newDataDir();
    const left = await startTemporalDevServer({ dataDir });

    const server = await startTemporalDevServer({ dataDir, searchAttributes });

    expect(server).toMatchObject({ adopted: false, address: left.address });
    expect(isRunning(left.pid)).toBe(false);
    await expect(attributesAt(server.address)).resolves.toEqual(expect.arrayContaining(searchAttributes));
    await server.stop();
  });

  test('takes other ports when its own are taken, but refuses a taken port that was asked for', async () => {
    const dataDir = newDataDir();
    const squatter = net.createServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    const { port } = squatter.address() as net.AddressInfo;
    writeFileSync(path.join(dataDir, 'temporal-ports.json'), JSON.stringify({ port, uiPort: port }));

    await expect(startTemporalDevServer({ dataDir, uiPort: port })).rejects.toThrow(`UI port ${port}`);
    const server = await startTemporalDevServer({ dataDir });

    expect(server.address).not.toBe(`127.0.0.1:${port}`);
    await server.stop();
    squatter.close();
  });

  test('tells when it ends without being stopped', async () => {
    const server = await startTemporalDevServer({ dataDir: newDataDir() });
    process.kill(server.pid, 'SIGKILL');
    await server.ended;
    await server.stop();
  });
});

describe("finding Temporal's dev server", () => {
  /** A program that answers as Temporal's CLI does. */
  function program(folder: string, name: string, output: string): string {
    const file = path.join(folder, name);
    writeFileSync(file, `#!/bin/sh\necho '${output}'\n`);
    chmodSync(file, 0o755);
    return file;
  }
  const GENUINE = 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)';
  const announce = (): void => undefined;

  test('prefers the configured program, then PATH, then the cache', async () => {
    const [onPath, cache, elsewhere] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
    const configured = program(elsewhere, 'my-temporal', GENUINE);
    const path1 = program(onPath, 'temporal', GENUINE);
    const cacheFile = path.join(cache, 'opencrow-workloadd');
    const env = { XDG_CACHE_HOME: cache, PATH: `${onPath}:/usr/bin:/bin` };

    await expect(findTemporalBinary({ announce, env: { ...env, WORKLOADD_TEMPORAL_CLI: configured } })).resolves.toBe(
      configured,
    );
    await expect(findTemporalBinary({ announce, env })).resolves.toBe(path1);
    expect(existsSync(cacheFile)).toBe(false);
  });

  test('passes over a program of that name that is something else', async () => {
    const [onPath, cache] = [temporaryFolder(), temporaryFolder()];
    program(onPath, 'temporal', 'temporal 0.1, a calendar');
    const folder = temporaryFolder({ parent: path.join(cache, 'opencrow-workloadd') });
    const cached = program(path.dirname(folder), 'temporal-v1.5.1', GENUINE);

    const env = { XDG_CACHE_HOME: cache, PATH: `${onPath}:/usr/bin:/bin` };
    await expect(findTemporalBinary({ announce, env })).resolves.toBe(cached);
  });

  test('refuses a configured program that is something else, rather than taking another', async () => {
    const other = program(temporaryFolder(), 'temporal', 'hello');
    await expect(findTemporalBinary({ announce, configuredPath: other })).rejects.toThrow(other);
  });

  test('says what to install when nothing works, and leaves no half program behind', async () => {
    const cache = temporaryFolder();
    const said: string[] = [];
    // Neither the download nor Go can work without a network and a PATH.
    const env = { XDG_CACHE_HOME: cache, PATH: temporaryFolder(), HTTPS_PROXY: 'http://127.0.0.1:9' };

    const failure = findTemporalBinary({ announce: (message) => said.push(message), env });

    await expect(failure).rejects.toThrow(/there is no go\).*Install Temporal's CLI .*WORKLOADD_TEMPORAL_CLI/s);
    expect(said.join('\n')).toMatch(/Downloading.*60 MB.*Building.*with Go/s);
    expect(readdirSync(path.join(cache, 'opencrow-workloadd'))).toEqual([]);
  });

  test('really finds one here', async () => {
    const binary = await findTemporalBinary({ announce });
    expect(readFileSync(binary).subarray(0, 4)).toEqual(Buffer.from([0x7f, 0x45, 0x4c, 0x46]));
  });
});
