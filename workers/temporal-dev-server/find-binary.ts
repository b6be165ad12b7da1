import { execFile } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { waitForExclusiveLock } from '../exclusive-lock';
import { buildWithGo, downloadWithSdk } from './get-binary';

const run = promisify(execFile);

/** The release of Temporal's CLI (Server 1.29.1) that is fetched when the machine has none. */
const TEMPORAL_CLI_VERSION = 'v1.5.1';

export interface FindTemporalOptions {
  /** Path of the `temporal` program. Default: `WORKLOADD_TEMPORAL_CLI`. If given, nothing else is tried. */
  configuredPath?: string | undefined;
  /** Told, in a sentence for people, before anything is downloaded or built. */
  announce: (message: string) => void;
  env?: NodeJS.ProcessEnv;
}

/** Where downloaded and built programs are kept: `$XDG_CACHE_HOME/opencrow-workloadd`, by default below `~/.cache`. */
export const cacheFolder = (env: NodeJS.ProcessEnv): string =>
  path.join(env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'opencrow-workloadd');

/**
 * Finds Temporal's CLI, which holds the dev server: the configured path, `temporal` on PATH, the cache folder, the download of
 * Temporal's SDK, a build with Go. Fails with what to install when nothing works.
 */
export async function findTemporalBinary(options: FindTemporalOptions): Promise<string> {
  const env = options.env ?? process.env;
  const configured = options.configuredPath ?? env['WORKLOADD_TEMPORAL_CLI'];
  if (configured) {
    if (await isTemporalCli(configured)) return path.resolve(configured);
    throw new Error(
      `${configured} (WORKLOADD_TEMPORAL_CLI) is not Temporal's CLI: \`${configured} --version\` failed.`,
    );
  }
  const onPath = await findOnPath(env);
  if (onPath) return onPath;
  const cached = path.join(cacheFolder(env), `temporal-${TEMPORAL_CLI_VERSION}`);
  if (await isTemporalCli(cached)) return cached;
  await fillCache(cached, options.announce, env);
  return cached;
}

/** One process at a time fetches the program; the others wait and find it. */
async function fillCache(cached: string, announce: (message: string) => void, env: NodeJS.ProcessEnv): Promise<void> {
  mkdirSync(path.dirname(cached), { recursive: true });
  const lock = await waitForExclusiveLock(`fetch ${cached}`, (pid) =>
    announce(`Waiting for another process (pid ${pid ?? 'unknown'}) that is fetching Temporal's dev server.`),
  );
  try {
    if (await isTemporalCli(cached)) return;
    const job = { target: cached, version: TEMPORAL_CLI_VERSION, announce, env };
    const failures: string[] = [];
    for (const fetchProgram of [downloadWithSdk, buildWithGo]) {
      const failure = await fetchProgram(job);
      if (failure === null && (await isTemporalCli(cached))) return;
      failures.push(failure ?? 'what was fetched does not run');
      announce(`That did not work: ${failures.at(-1)}.`);
    }
    throw new Error(
      `Temporal's dev server was not found and could not be fetched (${failures.join('; ')}). ` +
        "Install Temporal's CLI (https://docs.temporal.io/cli) so that `temporal` is on PATH, or set WORKLOADD_TEMPORAL_CLI to it, " +
        'or install Go 1.24 or later so that it can be built, or set TEMPORAL_ADDRESS to a Temporal server of your own.',
    );
  } finally {
    await lock.release();
  }
}

async function findOnPath(env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const folder of (env['PATH'] ?? '').split(path.delimiter).filter((name) => path.isAbsolute(name))) {
    const candidate = path.join(folder, 'temporal');
    if (isExecutable(candidate) && (await isTemporalCli(candidate))) return candidate;
  }
  return null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether the file runs and says that it is Temporal's CLI with a dev server in it. */
async function isTemporalCli(file: string): Promise<boolean> {
  try {
    const { stdout } = await run(file, ['--version'], { timeout: 20_000 });
    return /^temporal version .*Server/i.test(stdout);
  } catch {
    return false;
  }
}
