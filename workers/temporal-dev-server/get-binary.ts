import { spawn } from 'node:child_process';
import { accessSync, chmodSync, constants, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

/** What to fetch and where to put it. The caller holds the lock of `target`. */
export interface FetchJob {
  target: string;
  /** A release of Temporal's CLI, for example `v1.5.1`. */
  version: string;
  announce: (message: string) => void;
  env: NodeJS.ProcessEnv;
}

const DOWNLOAD_TIMEOUT_MS = 60_000;
const BUILD_TIMEOUT_MS = 20 * 60_000;

/** Runs in a process of its own, since the SDK's download can be stopped in no other way. */
const DOWNLOAD_SCRIPT = `
  const [sdk, downloadDir, version] = process.argv.slice(1);
  require(sdk)
    .TestWorkflowEnvironment.createLocal({ server: { executable: { type: 'cached-download', downloadDir, version } } })
    .then((environment) => environment.teardown())
    .then(() => process.exit(0), (error) => { console.error(String(error.message)); process.exit(1); });
`;

/** Has Temporal's SDK download the program. Returns null when it is in place, else why not. */
export async function downloadWithSdk(job: FetchJob): Promise<string | null> {
  job.announce(`Downloading Temporal's dev server ${job.version} (about 60 MB, once) to ${job.target}.`);
  return inScratchFolder(job, async (scratch) => {
    const sdk = require.resolve('@temporalio/testing');
    const args = ['-e', DOWNLOAD_SCRIPT, sdk, scratch, job.version];
    const failure = await runToEnd(process.execPath, args, job.env, DOWNLOAD_TIMEOUT_MS);
    return failure === null ? null : `the download failed (${failure})`;
  });
}

/** Builds the program from source with Go. Returns null when it is in place, else why not. */
export async function buildWithGo(job: FetchJob): Promise<string | null> {
  job.announce(
    `Building Temporal's dev server ${job.version} with Go, once: about 3 minutes, some 300 MB of sources to download, ` +
      `a program of 250 MB at ${job.target}.`,
  );
  return inScratchFolder(job, async (scratch) => {
    const env = { ...job.env, GOBIN: scratch, CGO_ENABLED: '0', GOFLAGS: '' };
    const args = ['install', `github.com/temporalio/cli/cmd/temporal@${job.version}`];
    const failure = await runToEnd('go', args, env, BUILD_TIMEOUT_MS);
    return failure === null ? null : `the build with Go failed (${failure})`;
  });
}

/** Lets `fetchInto` put one program into a new folder, and moves it to the target when it is complete. */
async function inScratchFolder(
  job: FetchJob,
  fetchInto: (scratch: string) => Promise<string | null>,
): Promise<string | null> {
  const parent = path.dirname(job.target);
  for (const name of readdirSync(parent)) {
    if (name.startsWith('.fetch-')) rmSync(path.join(parent, name), { recursive: true, force: true });
  }
  const scratch = mkdtempSync(path.join(parent, '.fetch-'));
  try {
    const failure = await fetchInto(scratch);
    if (failure !== null) return failure;
    const program = programIn(scratch);
    if (!program) return 'it gave no program';
    chmodSync(program, 0o755);
    renameSync(program, job.target);
    return null;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const programIn = (folder: string): string | undefined =>
  readdirSync(folder)
    .map((name) => path.join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });

/**
 * Runs a command; null when it exits with 0, else the last line it wrote. It is killed after the timeout, and it shares our
 * terminal, so a Ctrl-C ends it too.
 */
function runToEnd(command: string, args: string[], env: NodeJS.ProcessEnv, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    // Not spawn's own timeout: its timer stays when the command does not exist.
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const finish = (failure: string | null): void => {
      clearTimeout(timer);
      resolve(failure);
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-2000)));
    }
    child.once('error', (error: NodeJS.ErrnoException) =>
      finish(error.code === 'ENOENT' ? `there is no ${command}` : error.message),
    );
    child.once('exit', (code, signal) => {
      if (code === 0) finish(null);
      else if (signal) finish(`not done after ${timeoutMs / 1000} s`);
      else finish(output.trim().split('\n').at(-1) || `exit code ${code}`);
    });
  });
}
