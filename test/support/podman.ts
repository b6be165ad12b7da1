import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** A real podman with a storage of its own and one image, made of programs of this host. */
export interface RealPodman {
  env: NodeJS.ProcessEnv;
  image: string;
  /** Runs it and gives its stdout. Throws when it fails. */
  ask(args: readonly string[]): string;
  /** Removes its containers and its storage. */
  remove(): void;
}

const IMAGE = 'localhost/workloadd-test:1';
const PROGRAMS = ['sh', 'printf', 'true', 'head', 'seq', 'sleep', 'touch', 'env', 'cat'];

/** The podman of this host when it can run containers, else why not. Needs no registry, no engine and no network. */
export function realPodman(): RealPodman | { why: string } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'workloadd-podman-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const podman = prepare(folder);
    podman.ask(['run', '--rm', '--network', 'none', IMAGE, 'true']);
    return podman;
  } catch (error) {
    remove();
    return { why: (error as Error).message.split('\n')[0]!.slice(0, 120) };
  }
}

function prepare(folder: string): RealPodman {
  const at = (name: string): string => path.join(folder, name);
  const runtime = ['runc', 'crun'].find((name) => findProgram(name) !== null);
  writeFileSync(
    at('containers.conf'),
    // Limits within those of this process, since raising them is not everybody's right.
    `[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nnetns = "none"\n` +
      `[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n${runtime ? `runtime = "${runtime}"\n` : ''}`,
  );
  writeFileSync(
    at('storage.conf'),
    `[storage]\ndriver = "vfs"\ngraphroot = "${at('root')}"\nrunroot = "${at('run')}"\n`,
  );
  const env = {
    ...process.env,
    CONTAINERS_CONF: at('containers.conf'),
    CONTAINERS_STORAGE_CONF: at('storage.conf'),
  };
  const ask = (args: readonly string[]): string => run('podman', args, env);
  if (!findProgram('podman')) throw new Error('there is no podman');
  ask(['version']);
  makeRoot(at('fs'));
  run('tar', ['-C', at('fs'), '-cf', at('fs.tar'), '.'], env);
  ask(['import', at('fs.tar'), IMAGE]);
  return {
    env,
    image: IMAGE,
    ask,
    remove: () => {
      ask(['rm', '--all', '--force', '--time', '0']);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The programs with the libraries they are linked to, each at its own path. */
function makeRoot(root: string): void {
  const copy = (from: string, to: string): void => {
    mkdirSync(path.dirname(path.join(root, to)), { recursive: true });
    if (!existsSync(path.join(root, to))) copyFileSync(from, path.join(root, to));
  };
  for (const folder of ['tmp', 'etc', 'proc', 'sys', 'dev', 'root'])
    mkdirSync(path.join(root, folder), { recursive: true });
  for (const program of PROGRAMS) {
    const file = findProgram(program);
    if (!file) throw new Error(`this host has no ${program}`);
    copy(file, path.join('/bin', program));
    for (const [library] of run('ldd', [file], process.env).matchAll(/\/\S+/g)) copy(library, library);
  }
}

function findProgram(name: string): string | null {
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => path.isAbsolute(folder));
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file)) ?? null;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr, error } = spawnSync(command, [...args], { env, encoding: 'utf8', timeout: 30_000 });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args[0]!}: ${error?.message ?? (stderr.trim() || `exit ${status}`)}`);
}
