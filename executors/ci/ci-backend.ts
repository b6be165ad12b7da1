import type { Backend } from '../backend';
import { runnerBackend } from '../remote/runner-backend';
import type { RunnerOptions } from '../remote/runner-run';

/** Runs commands as jobs of a CI system that speaks the runner protocol. */
export const ciBackend = (options: RunnerOptions = {}): Backend =>
  runnerBackend(
    {
      id: 'ci',
      title: 'A job of a CI system, over HTTP',
      handleOf: ({ endpoint, jobId }) => {
        if (endpoint && jobId) return { kind: 'ci', ref: `${endpoint}#${jobId}`, endpoint, jobId };
        if (endpoint) return { kind: 'ci', ref: endpoint, endpoint };
        return jobId ? { kind: 'ci', ref: jobId, jobId } : undefined;
      },
    },
    options,
  );
