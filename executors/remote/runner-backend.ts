import type { ExecutionHandle, ExecutionRequest } from '../../contracts/execution';
import type { Backend } from '../backend';
import { RunnerRun } from './runner-run';
import { targetFault } from './runner-target';

export interface RunnerOptions {
  /** Sent as bearer with every request, never recorded. Asked for at each run, so that it can be renewed. */
  token?: () => string | undefined;
  /** Hosts with private addresses that may be runners. Default none. */
  privateHosts?: readonly string[];
  /** First and longest wait between two polls, milliseconds. Default 1,000 and 15,000. */
  pollMs?: { first: number; longest: number };
  /** Wait between two polls of a runner that will call when it is done, milliseconds. Default 300,000. */
  safetyPollMs?: number;
}

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
