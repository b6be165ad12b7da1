// Everything in a real n8n: installs it into a cache folder, builds and installs our node package, imports the workflows, and
// drives them against `workloadd up` and a simulated OpenCrow. Needs Chromium for `--screenshots`, which renews docs/images.
//
//   npm run test:n8n [-- --screenshots]
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { importAll } from './n8n/import.mjs';
import { installN8n } from './n8n/install.mjs';
import { N8n } from './n8n/instance.mjs';
import { buildPackage, installPackage } from './n8n/package.mjs';
import { STEPS } from './n8n/scenario.mjs';
import { takeScreenshots } from './n8n/screenshots.mjs';
import { startOpenCrow, startService } from './n8n/service.mjs';
import { startWorld } from './n8n/world.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const { removeEmbeddedPostgres, startEmbeddedPostgres } = require('../dist/ledger/embedded-postgres.js');
const { stopTemporalDevServer } = require('../dist/workers/temporal-dev-server.js');

const announce = (what) => console.log(`- ${what}`);

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts everything. What must be undone is put on `undo` before it can fail. */
async function startAll(folder, undo) {
  const commands = await installN8n(announce);
  await buildPackage(join(root, 'n8n'), announce);

  const world = await startWorld();
  undo.push(() => world.stop());

  announce('starting n8n on a Postgres of its own');
  const database = join(folder, 'n8n-db');
  mkdirSync(database);
  undo.push(() => removeEmbeddedPostgres(database));
  const postgres = await startEmbeddedPostgres({ dataDir: database, announce });
  const userFolder = join(folder, 'n8n');
  mkdirSync(userFolder);
  await installPackage(join(root, 'n8n'), userFolder);
  const [port, brokerPort] = [await freePort(), await freePort()];
  const logFile = join(folder, 'n8n.log');
  const n8n = new N8n({ commands, userFolder, database: postgres.connection, port, brokerPort, logFile });
  undo.push(() => n8n.stop());
  await n8n.start();
  await n8n.setUp();

  announce('starting workloadd and a simulated OpenCrow');
  const dataDir = join(folder, 'data');
  undo.push(async () => {
    await stopTemporalDevServer(dataDir);
    await removeEmbeddedPostgres(dataDir);
  });
  const service = await startService({ root, folder, callbackHost: `127.0.0.1:${port}` });
  undo.push(() => service.stop());
  world.target = service.url;
  const crow = await startOpenCrow({ root, folder, hookUrl: n8n.url });
  undo.push(() => crow.stop());

  announce('importing credentials and workflows');
  await importAll({ root, folder, n8n, world, makeToken: (name, scopes) => makeToken(dataDir, name, scopes) });
  return { n8n, service, crow, world };
}

function makeToken(dataDir, name, scopes) {
  const args = [join(root, 'bin', 'workloadd.js'), 'token', 'create', '--data-dir', dataDir, '--print'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...args, '--name', name.toLowerCase(), '--scopes', scopes.join(',')],
    { encoding: 'utf8', env: { ...process.env, DATABASE_URL: '' } },
  );
  if (status !== 0) throw new Error(`no token was made:\n${stderr}`);
  return stdout.trim();
}

async function runSteps(run) {
  for (const [what, step] of STEPS) {
    const since = Date.now();
    await step(run);
    console.log(`ok   ${what} (${((Date.now() - since) / 1000).toFixed(1)} s)`);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'workloadd-n8n-'));
// Postgres of root runs under another account, which has to pass.
chmodSync(folder, 0o711);
const undo = [];
let failed = null;
const interrupted = new Promise((_resolve, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`ended by ${signal}`)));
});
try {
  const work = async () => {
    const run = await startAll(folder, undo);
    await runSteps(run);
    if (process.argv.includes('--screenshots')) await takeScreenshots(root, run.n8n);
  };
  await Promise.race([work(), interrupted]);
} catch (error) {
  failed = error;
}
for (const each of undo.reverse()) {
  await each().catch((error) => console.error(`while stopping: ${error.message}`));
}
if (failed) {
  console.error(failed);
  console.error(`FAILED; the logs are in ${folder}`);
  process.exit(1);
}
rmSync(folder, { recursive: true, force: true });
console.log(`${STEPS.length} passed, 0 failed`);
process.exit(0);
