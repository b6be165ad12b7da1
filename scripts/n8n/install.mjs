// Installs a real n8n into a cache folder, once. About 1.3 GB and four minutes.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const N8N_VERSION = '2.4.8';
const NODE_MAJOR = '24';

/** Where it is installed: WORKLOADD_N8N_CACHE, else below the user's cache folder. */
const cacheFolder = () =>
  process.env.WORKLOADD_N8N_CACHE ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'opencrow-workloadd', `n8n-${N8N_VERSION}`);

/** Installs what is missing. Resolves with the paths of Node and of n8n's command. */
export async function installN8n(announce) {
  const cache = cacheFolder();
  const node = join(cache, 'node24', 'node_modules', 'node', 'bin', 'node');
  const n8n = join(cache, 'n8n', 'node_modules', 'n8n', 'bin', 'n8n');
  if (!works(node)) {
    announce(`installing Node ${NODE_MAJOR} into ${cache}`);
    await install(join(cache, 'node24'), { allowScripts: { node: true } }, [`node@${NODE_MAJOR}`]);
    if (!works(node)) throw new Error(`Node ${NODE_MAJOR} was installed but does not run: ${node}`);
  }
  if (!isInstalled(n8n)) {
    announce(`installing n8n ${N8N_VERSION} into ${cache}: about 1.3 GB, four minutes`);
    // xlsx would come as an archive from outside the registry; @langchain/core is named twice in versions that exclude each other.
    const overrides = { xlsx: 'npm:xlsx@0.18.5', '@langchain/core': '1.2.13' };
    await install(join(cache, 'n8n'), { overrides }, [`n8n@${N8N_VERSION}`, '--legacy-peer-deps']);
    if (!isInstalled(n8n)) throw new Error(`n8n was installed but is not there: ${n8n}`);
  }
  return { node, n8n };
}

const works = (node) => existsSync(node) && spawnSync(node, ['--version']).status === 0;

/** npm puts the command's file there long before it has finished; the hidden lock file comes last. */
function isInstalled(n8n) {
  const manifest = join(n8n, '..', '..', 'package.json');
  const done = join(n8n, '..', '..', '..', '.package-lock.json');
  return existsSync(n8n) && existsSync(done) && JSON.parse(readFileSync(manifest, 'utf8')).version === N8N_VERSION;
}

async function install(folder, manifest, args) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }));
  await npm(['install', '--prefix', folder, '--no-audit', '--no-fund', ...args], folder);
}

/** Runs npm and shows that it does something. */
export function npm(args, cwd) {
  return new Promise((resolve, reject) => {
    // Below `npm run` the settings of our own .npmrc are handed down; other packages have other engines.
    const env = { ...process.env };
    delete env.npm_config_engine_strict;
    const child = spawn('npm', args, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
    const since = Date.now();
    let errors = '';
    child.stderr.on('data', (text) => (errors += text));
    const seconds = () => Math.round((Date.now() - since) / 1000);
    const progress = setInterval(() => console.log(`  npm ${args[0]}: ${seconds()} s`), 20_000);
    child.once('error', reject);
    child.once('exit', (code) => {
      clearInterval(progress);
      if (code === 0) resolve();
      else reject(new Error(`npm ${args.join(' ')} failed (${code}):\n${errors.slice(-3000)}`));
    });
  });
}
