import type { ExecutionHandle, ExecutionRequest } from '../../contracts/execution';
import type { Backend } from '../backend';
import { RunnerRun, type RunnerOptions } from './runner-run';
import { targetFault } from './runner-target';

/** How the two kinds of runner differ: what they are called and how their handle is made. */
export interface RunnerKind {
  id: 'remote' | 'ci';
  title: string;
  handleOf: (request: ExecutionRequest) => ExecutionHandle | undefined;
}

/** Runs commands on a runner behind HTTP: one POST, then polls until it says that the job is done. */
export function runnerBackend(kind: RunnerKind, options: RunnerOptions = {}): Backend {
  const privateHosts = options.privateHosts ?? [];
  return {
    spec: {
      id: kind.id,
      title: kind.title,
      kind: 'delegating',
      locality: 'remote',
      target: 'an endpoint',
      support: { read: 'attest', write: 'attest', command: 'enforce', network: 'attest', env: 'enforce' },
      defaultTimeoutMs: 120_000,
    },
    handleOf: kind.handleOf,
    check: ({ endpoint }) => (endpoint ? targetFault(endpoint, privateHosts) : null),
    probe: () =>
      Promise.resolve({
        ready: true,
        checks: [{ name: 'http', ok: true, detail: 'a runner is asked only when a command is run' }],
      }),
    run: (request, context) => new RunnerRun(kind.id, request, context, options).run(),
  };
}
