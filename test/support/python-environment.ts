import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../../workers/temporal-dev-server/find-binary';

const OLDEST = [3, 10];
const MAKE_TIMEOUT_MS = 300_000;

/**
 * A Python that has what `requirements` lists, kept in the cache folder under their hash; or why there is none: no Python, no
 * `venv`, no registry. Fails when the registry answers and does not have what is listed.
 */
export function pythonWith(requirements: string): { python: string } | { why: string } {
  const version = versionOf('python3');
  if (version === null) return { why: 'there is no python3' };
  if (version[0]! < OLDEST[0]! || (version[0] === OLDEST[0] && version[1]! < OLDEST[1]!)) {
    return { why: `python3 is ${version.join('.')}, older than ${OLDEST.join('.')}` };
  }
  const hash = createHash('sha256')
    .update(`${version.join('.')} ${process.arch}\n`)
    .update(readFileSync(requirements));
  const folder = path.join(cacheFolder(process.env), `python-${hash.digest('hex').slice(0, 16)}`);
  const python = path.join(folder, 'bin', 'python');
  if (versionOf(python) !== null) return { python };
  const why = make(folder, requirements);
  return why === null ? { python } : { why };
}

/** Made beside its place and moved there whole, so that nobody finds a half of it. */
function make(folder: string, requirements: string): string | null {
  mkdirSync(path.dirname(folder), { recursive: true });
  const draft = mkdtempSync(`${folder}.new-`);
  try {
    const noVenv = run('python3', ['-m', 'venv', draft]);
    if (noVenv !== null) return `python3 makes no virtual environment: ${noVenv}`;
    const install = [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--retries',
      '1',
      '--timeout',
      '15',
    ];
    const notInstalled = run(path.join(draft, 'bin', 'python'), [...install, '--requirement', requirements]);
    if (notInstalled !== null && /from versions: (?!none)/.test(notInstalled)) throw new Error(notInstalled);
    if (notInstalled !== null) return `the package registry gives nothing: ${notInstalled}`;
    rmSync(folder, { recursive: true, force: true });
    renameSync(draft, folder);
    return null;
  } catch (error) {
    // Another run was faster.
    if (existsSync(path.join(folder, 'bin', 'python'))) return null;
    throw error;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Null when it exits with 0, else the line that says most. */
function run(command: string, args: readonly string[]): string | null {
  const { status, error, stdout, stderr } = spawnSync(command, [...args], {
    encoding: 'utf8',
    timeout: MAKE_TIMEOUT_MS,
  });
  if (status === 0) return null;
  const lines = `${stdout ?? ''}\n${stderr ?? ''}`.split('\n').filter((line) => line.trim() !== '');
  return (lines.find((line) => /^ERROR/.test(line)) ?? error?.message ?? lines[0] ?? `exit code ${status}`).slice(
    0,
    160,
  );
}

function versionOf(python: string): number[] | null {
  const script = 'import platform; print(platform.python_version())';
  const { status, stdout } = spawnSync(python, ['-c', script], { encoding: 'utf8', timeout: 20_000 });
  const numbers = /^(\d+)\.(\d+)/.exec(status === 0 ? stdout : '');
  return numbers && [Number(numbers[1]), Number(numbers[2])];
}
