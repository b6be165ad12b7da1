import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pino from 'pino';
import type { TidyContext } from '../../executors/backend';
import { containerBackend } from '../../executors/container/container-backend';
import { endLeftRuns } from '../../executors/node/left-runs';
import { nodeBackend } from '../../executors/node/node-backend';
import { processOf } from '../../executors/node/processes';
import { RunNotes } from '../../executors/node/run-notes';
import { tidying as tidyingOf } from '../../executors/tidying';
import { eventually } from '../support/eventually';
import { startScript, type TestProcess } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';
import { execute, standInDocker, type StandInDocker } from './harness';

const KEY = `${'a'.repeat(32)}-1`;
const OTHER_KEY = `${'b'.repeat(32)}-2`;
const gone = (pid: number): Promise<void> => eventually(() => expect(processOf(pid)).toBeNull());
const pidIn = (file: string): Promise<number> =>
  eventually(() => {
    const pid = Number(readFileSync(file, 'utf8'));
    expect(pid).toBeGreaterThan(1);
    return pid;
  });

/** A process that runs one command as a worker does, there to be killed. */
const startWorker = (backend: string, request: object, context: object, env: NodeJS.ProcessEnv = {}): TestProcess =>
  startScript(
    `const { builtInBackends } = require('$dist/executors/backends.js');
     const { runCommand } = require('$dist/executors/run-command.js');
     const { bundledProfile } = require('$dist/domain/execution/sandbox-profiles.js');
     const all = builtInBackends({ containerRuntimes: ['docker'], runnerToken: undefined, runnerPrivateHosts: [] });
     const context = { signal: new AbortController().signal, hostEnv: process.env, output: () => undefined };
     void runCommand(
       all.find(({ spec }) => spec.id === '${backend}'),
       ${JSON.stringify(request)},
       bundledProfile('default'),
       { ...context, ...${JSON.stringify(context)} },
     );`,
    [],
    env,
  );

const bystanders: ChildProcess[] = [];
afterEach(() => {
  for (const each of bystanders.splice(0)) each.kill('SIGKILL');
});

/** A group of its own, as a run is. */
function startGroup(env: NodeJS.ProcessEnv): number {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore', env: { PATH: process.env.PATH, ...env } });
  bystanders.push(child);
  return child.pid!;
}

describe('a process', () => {
  /** A command that does not listen, with a child; both write their pid. */
  const stubborn = (cwd: string) => ({
    command: 'sh',
    args: [
      '-c',
      `trap '' TERM; sh -c 'trap "" TERM; echo $$ > ${cwd}/child; while :; do sleep 1; done' & echo $$ > ${cwd}/leader; while :; do sleep 1; done`,
    ],
    cwd,
  });
  const context = (runsFolder: string) => ({
    runKey: KEY,
    runsFolder,
    variables: { WORKLOAD_DELIVERY_ID: `wl_${'a'.repeat(32)}` },
  });
  const noneRuns = () => new Set<string>();

  test.each(['its leader alive', 'its leader gone'])('is ended with its group by the next start: %s', async (how) => {
    const folder = temporaryFolder();
    const cwd = temporaryFolder();
    const worker = startWorker('node', stubborn(cwd), context(folder));
    const leader = await pidIn(path.join(cwd, 'leader'));
    const child = await pidIn(path.join(cwd, 'child'));
    await eventually(() => expect(new RunNotes(folder).read(KEY)?.pid).toBe(leader));
    await worker.kill9();
    if (how === 'its leader gone') {
      process.kill(leader, 'SIGKILL');
      await gone(leader);
    }
    expect(processOf(child)).not.toBeNull();
    expect(await endLeftRuns({ folder, running: noneRuns, graceMs: 200 })).toEqual([KEY]);
    await gone(leader);
    await gone(child);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is found by its variable when its worker died before it could note the pid', async () => {
    const folder = temporaryFolder();
    const mine = startGroup({ WORKLOAD_DELIVERY_ID: 'wl_mine' });
    const another = startGroup({ WORKLOAD_DELIVERY_ID: 'wl_mine~2' });
    await eventually(() => expect(readFileSync(`/proc/${another}/cmdline`, 'utf8')).toContain('sleep'));
    new RunNotes(folder).write(KEY, 'wl_mine', null);
    expect(await endLeftRuns({ folder, running: noneRuns, graceMs: 200 })).toEqual([KEY]);
    await gone(mine);
    expect(processOf(another)).not.toBeNull();
  });

  test('that took the number of one that is gone is left alone, and so is a run of this process', async () => {
    const folder = temporaryFolder();
    const notes = new RunNotes(folder);
    const bystander = startGroup({});
    const own = startGroup({ WORKLOAD_DELIVERY_ID: 'wl_own' });
    notes.write(KEY, 'wl_gone', bystander);
    const note = notes.read(KEY)!;
    writeFileSync(
      path.join(folder, `${KEY}.json`),
      JSON.stringify({ ...note, started: `${Number(note.started) - 1}` }),
    );
    notes.write(OTHER_KEY, 'wl_own', own);
    expect(await endLeftRuns({ folder, running: () => new Set([OTHER_KEY]), graceMs: 200 })).toEqual([]);
    expect(notes.keys()).toEqual([OTHER_KEY]);
    expect([processOf(bystander), processOf(own)]).not.toContain(null);
  });

  test('that ended by itself leaves no note, and without a place for notes nothing is started', async () => {
    const folder = path.join(temporaryFolder(), 'runs');
    const cwd = temporaryFolder();
    expect((await execute(nodeBackend, { command: 'true', cwd }, { context: { runsFolder: folder } })).status).toBe(
      'completed',
    );
    expect(readdirSync(folder)).toEqual([]);
    const spoils = { command: 'sh', args: ['-c', `rm ${folder}/${KEY}.json; mkdir ${folder}/${KEY}.json`], cwd };
    const spoilt = await execute(nodeBackend, spoils, { context: { runsFolder: folder, runKey: KEY } });
    expect(spoilt.status).toBe('completed');
    writeFileSync(path.join(cwd, 'file'), '');
    const { evidence } = await execute(
      nodeBackend,
      { command: 'touch', args: ['ran'], cwd },
      { context: { runsFolder: path.join(cwd, 'file') } },
    );
    expect(evidence[0]).toBe('refused:backend-not-ready');
    expect(existsSync(path.join(cwd, 'ran'))).toBe(false);
  });
});

describe('a container', () => {
  const containers = ({ state }: StandInDocker): string[] =>
    readdirSync(state).filter((name) => name.startsWith('container-'));
  const tidy = (docker: StandInDocker, more: Partial<TidyContext> = {}): Promise<string[]> =>
    containerBackend().tidy!({
      hostEnv: docker.env,
      workerId: 'wrk-1',
      runsFolder: '',
      running: () => new Set(),
      over: () => Promise.resolve([]),
      signal: new AbortController().signal,
      ...more,
    });
  const left = (docker: StandInDocker, name: string, labels: string[]): void => {
    writeFileSync(path.join(docker.state, `container-${name}`), '2147483646');
    writeFileSync(path.join(docker.state, `labels-${name}`), JSON.stringify(labels));
  };

  test('is gone after the next start of the worker that was killed', async () => {
    const docker = standInDocker(temporaryFolder());
    const cwd = temporaryFolder();
    const request = { command: 'sh', args: ['-c', `echo $$ > ${cwd}/pid; sleep 60`], cwd, image: 'alpine:3' };
    const worker = startWorker('container', request, { runKey: KEY, workerId: 'wrk-1' }, docker.env);
    const pid = await pidIn(path.join(cwd, 'pid'));
    await worker.kill9();
    expect(containers(docker)).toEqual([`container-wl-${KEY}`]);
    const tidying = tidyingOf({
      backends: [nodeBackend, containerBackend()],
      hostEnv: docker.env,
      workerId: 'wrk-1',
      runsFolder: temporaryFolder(),
      running: () => new Set(),
      over: () => Promise.reject(new Error('the control plane is away')),
      logger: pino({ level: 'silent' }),
    });
    tidying.start();
    await eventually(() => expect(containers(docker)).toEqual([]));
    await gone(pid);
    await tidying.stop();
  });

  test('of another worker is removed when nobody waits for its run, and not before', async () => {
    const docker = standInDocker(temporaryFolder());
    left(docker, `wl-${KEY}`, [`opencrow-workloadd.run=${KEY}`, 'opencrow-workloadd.worker=wrk-2']);
    left(docker, `wl-${OTHER_KEY}`, [`opencrow-workloadd.run=${OTHER_KEY}`]);
    left(docker, 'wl-exec-1', ['opencrow-workloadd.run=exec-1']);
    left(docker, 'theirs', ['app=theirs']);
    const asked: string[][] = [];
    const over = (keys: readonly string[]) => {
      asked.push([...keys].sort());
      return Promise.resolve([KEY, 'exec-1']);
    };
    expect(await tidy(docker, { over: () => Promise.reject(new Error('away')) })).toEqual([]);
    expect(await tidy(docker, { over })).toEqual([KEY]);
    expect(asked).toEqual([[KEY, OTHER_KEY]]);
    expect(containers(docker).sort()).toEqual(
      ['container-theirs', `container-wl-${OTHER_KEY}`, 'container-wl-exec-1'].sort(),
    );
  });

  test('that this process runs is left alone', async () => {
    const docker = standInDocker(temporaryFolder());
    left(docker, `wl-${KEY}`, [`opencrow-workloadd.run=${KEY}`, 'opencrow-workloadd.worker=wrk-1']);
    expect(await tidy(docker, { running: () => new Set([KEY]), over: () => Promise.resolve([KEY]) })).toEqual([]);
    expect(await tidy(docker)).toEqual([KEY]);
    expect(containers(docker)).toEqual([]);
  });

  test('is not looked for where no runtime answers', async () => {
    const docker = standInDocker(temporaryFolder());
    writeFileSync(path.join(docker.state, 'dead'), '');
    expect(await tidy(docker)).toEqual([]);
  });
});
