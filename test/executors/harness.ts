import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ExecutionEnvelope, ExecutionRequest } from '../../contracts/execution';
import type { SandboxProfile } from '../../contracts/sandbox-profile';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import type { Backend, RunContext } from '../../executors/backend';
import { runCommand } from '../../executors/run-command';

let runs = 0;

/** Runs one command on a backend in `cwd`, as a worker or the command line would. */
export function execute(
  backend: Backend,
  request: Partial<ExecutionRequest> & { cwd: string },
  options: { profile?: SandboxProfile; context?: Partial<RunContext> } = {},
): Promise<ExecutionEnvelope> {
  runs += 1;
  return runCommand(backend, request, options.profile ?? bundledProfile('default')!, {
    signal: new AbortController().signal,
    hostEnv: process.env,
    runKey: `test-${process.pid}-${runs}`,
    output: () => undefined,
    ...options.context,
  });
}

export interface StandInDocker {
  env: NodeJS.ProcessEnv;
  /** Folder of the command, alone. */
  bin: string;
  /** Folder of what it keeps and is told. */
  state: string;
  calls(): DockerCall[];
}

/** A folder with a `docker` in it that stands for the real one; `env` makes it the docker of a run. */
export function standInDocker(folder: string): StandInDocker {
  const bin = path.join(folder, 'bin');
  const state = path.join(folder, 'docker-state');
  mkdirSync(bin, { recursive: true });
  mkdirSync(state, { recursive: true });
  const script = `#!/bin/sh\nexec '${process.execPath}' "\${0%/*}/docker.mjs" "$@"\n`;
  writeFileSync(path.join(bin, 'docker'), script, { mode: 0o755 });
  copyFileSync(path.join(__dirname, '../support/stand-in/docker.mjs'), path.join(bin, 'docker.mjs'));
  return {
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, DOCKER_STAND_IN: state },
    bin,
    state,
    calls: () =>
      readFileSync(path.join(state, 'calls.ndjson'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as DockerCall),
  };
}

export interface DockerCall {
  argv: string[];
  env: Record<string, string>;
}

/** What is left of an envelope when provenance is taken away: must be the same bytes on every backend. */
export const canonical = ({ provenance: _, ...rest }: ExecutionEnvelope): string => JSON.stringify(rest);
