// Builds dist/: the compiled TypeScript, the data files beside it, and the prebuilt workflow bundle.
// A step whose inputs have not changed since it last succeeded is skipped.
//   --if-possible   succeed without building when the compiler is not installed (npm ci --omit=dev)
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withBuildLock } from './build-lock.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const stampFile = join(dist, '.build-stamp.json');
const require = createRequire(import.meta.url);
const SOURCE_FOLDERS = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')).include;
const DATA_FILE = /\.(sql|json|ya?ml|html|css)$/;

/** All files below a folder, relative to the repository. */
function filesIn(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

function fingerprint(files) {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'));
  } catch {
    return {};
  }
}

function writeStamp(stamp) {
  writeFileSync(`${stampFile}.new`, JSON.stringify(stamp));
  renameSync(`${stampFile}.new`, stampFile);
}

/** Removes outputs whose source is gone, so that a deleted file cannot be run. */
function removeStale(sources) {
  const expected = new Set(
    sources.flatMap((file) => {
      const output = file.replace(/\.ts$/, '.js');
      return [join('dist', output), join('dist', `${output}.map`)];
    }),
  );
  for (const file of SOURCE_FOLDERS.flatMap((folder) => filesIn(join('dist', folder)))) {
    if (!expected.has(file)) rmSync(join(root, file));
  }
}

/** Whether an output is missing; the incremental compiler does not look, it trusts its notes. */
const outputsMissing = (sources) =>
  sources.some((file) => /(?<!\.d)\.ts$/.test(file) && !existsSync(join(dist, file.replace(/\.ts$/, '.js'))));

function compile(sources) {
  console.log('build: compiling TypeScript');
  if (outputsMissing(sources)) rmSync(join(dist, '.tsbuildinfo'), { force: true });
  const tsc = require.resolve('typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
  for (const file of sources.filter((name) => DATA_FILE.test(name))) {
    mkdirSync(dirname(join(dist, file)), { recursive: true });
    cpSync(join(root, file), join(dist, file));
  }
  removeStale(sources);
  return status === 0;
}

async function bundleWorkflows() {
  const workflowsPath = join(dist, 'workflows', 'index.js');
  if (!existsSync(workflowsPath)) {
    console.log('build: there is no workflows/index.ts, so there is no workflow bundle');
    return false;
  }
  console.log('build: bundling the workflows');
  const { bundleWorkflowCode, DefaultLogger } = require('@temporalio/worker');
  const logger = new DefaultLogger('WARN');
  const { code } = await bundleWorkflowCode({ workflowsPath, logger });
  const bundle = join(dist, 'workflow-bundle.js');
  writeFileSync(`${bundle}.new`, code);
  renameSync(`${bundle}.new`, bundle);
  return true;
}

async function build() {
  const sources = SOURCE_FOLDERS.flatMap(filesIn);
  const settings = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/build.mjs'];
  const inputs = { compile: fingerprint([...sources, ...settings.filter((file) => existsSync(join(root, file)))]) };
  const stamp = readStamp();
  let ok = true;
  if (stamp.compile !== inputs.compile || outputsMissing(sources)) {
    ok = compile(sources);
    writeStamp({ ...stamp, compile: ok ? inputs.compile : undefined });
  }
  const bundled = ['contracts', 'domain', 'workflows'].flatMap((folder) => filesIn(join('dist', folder)));
  inputs.bundle = fingerprint([...bundled.filter((file) => file.endsWith('.js')), 'package-lock.json']);
  if (readStamp().bundle !== inputs.bundle || !existsSync(join(dist, 'workflow-bundle.js'))) {
    if (await bundleWorkflows()) writeStamp({ ...readStamp(), bundle: inputs.bundle });
  }
  return ok;
}

function compilerIsInstalled() {
  try {
    require.resolve('typescript/bin/tsc');
    return true;
  } catch {
    return false;
  }
}

if (compilerIsInstalled()) {
  mkdirSync(dist, { recursive: true });
  if (!(await withBuildLock(join(dist, '.build-lock'), build))) process.exitCode = 1;
} else {
  console.log('build: typescript is not installed (npm ci --omit=dev); dist/ is left as it is');
  if (!process.argv.includes('--if-possible')) process.exitCode = 1;
}
