import type { Backend } from '../backend';
import { runnerBackend } from './runner-backend';
import type { RunnerOptions } from './runner-run';

/** Runs commands on a remote runner. */
export const remoteBackend = (options: RunnerOptions = {}): Backend =>
  runnerBackend(
    {
      id: 'remote',
      title: 'A remote runner, over HTTP',
      handleOf: ({ endpoint, jobId }) => {
        if (!endpoint) return undefined;
        return jobId
          ? { kind: 'remote', ref: `${endpoint}#${jobId}`, endpoint, jobId }
          : { kind: 'remote', ref: endpoint, endpoint };
      },
    },
    options,
  );
