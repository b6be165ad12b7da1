// Checks our node package by n8n's own rules, builds it, and puts it where n8n looks for community nodes.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm } from './install.mjs';

/** Installs the development dependencies when the lock file has changed, then type-checks, lints and builds. */
export async function buildPackage(folder, announce) {
  const lock = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .digest('hex');
  const stamp = join(folder, 'node_modules', '.lock-hash');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
    announce("installing the node package's development dependencies: about 700 MB");
    // Not `npm ci`: it wants optional packages of other platforms in the lock file that a registry may not have.
    await npm(['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'], folder);
    writeFileSync(stamp, lock);
  }
  for (const script of ['typecheck', 'lint', 'build']) {
    announce(`node package: ${script}`);
    const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', script], { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`npm run ${script} failed in ${folder}:\n${stdout}${stderr}`);
  }
}

/** Packs it as it would be published and installs that into n8n's folder of community nodes. */
export async function installPackage(folder, userFolder) {
  const nodes = join(userFolder, '.n8n', 'nodes');
  mkdirSync(nodes, { recursive: true });
  writeFileSync(join(nodes, 'package.json'), JSON.stringify({ name: 'installed-nodes', private: true }));
  await npm(['pack', '--silent', '--pack-destination', nodes], folder);
  const archive = readdirSync(nodes).find((name) => name.endsWith('.tgz'));
  const flags = ['--legacy-peer-deps', '--ignore-scripts', '--no-audit', '--no-fund'];
  await npm(['install', ...flags, join(nodes, archive)], nodes);
  rmSync(join(nodes, archive));
}
