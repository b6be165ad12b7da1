import type { Backend, CheckedRequest, RunContext, RunEnd } from '../backend';
import { OUTPUT_LIMIT_BYTES, runChild, type ChildEnd } from '../child-run';

/** Runs commands as processes of this host: the default backend. */
export const nodeBackend: Backend = {
  spec: {
    id: 'node',
    title: 'A process of the worker’s host',
    kind: 'local',
    locality: 'local',
    support: { read: 'attest', write: 'attest', command: 'enforce', network: 'attest', env: 'enforce' },
    defaultTimeoutMs: 600_000,
  },

  probe: () => Promise.resolve({ ready: true, checks: [{ name: 'process', ok: true, detail: 'can start processes' }] }),

  async run(request: CheckedRequest, context: RunContext): Promise<RunEnd> {
    const end = await runChild({
      ...request,
      env: hostEnvironment(request, context.hostEnv),
      signal: context.signal,
      output: context.output,
    });
    const why = whyCut(end, request.timeoutMs);
    return {
      type: 'exited',
      exitCode: end.exitCode,
      stdoutDigest: end.stdoutDigest,
      notes: ['runtime: node', ...notesOf(end)],
      ...(why === null ? {} : { why }),
    };
  },
};

/** PATH and HOME of the host, and what the profile exposes; what it denies not even then. */
function hostEnvironment({ forwarded, profile }: CheckedRequest, host: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = ['PATH', 'HOME', ...forwarded].filter((name) => !profile.env.deny.includes(name));
  return Object.fromEntries(names.flatMap((name) => (host[name] === undefined ? [] : [[name, host[name]]])));
}

function whyCut({ cut, cause }: ChildEnd, timeoutMs: number): string | null {
  switch (cut) {
    case null:
      return null;
    case 'spawn':
      return `cannot be started: ${cause}`;
    case 'timeout':
      return `timed out after ${timeoutMs} ms`;
    case 'cancelled':
      return 'cancelled';
    case 'overflow':
      return `printed more than ${OUTPUT_LIMIT_BYTES} bytes`;
  }
}

function notesOf({ cut, cause, stderrCut }: ChildEnd): string[] {
  return [
    ...(cut === 'spawn' ? [`spawn-error: ${cause}`] : cause === null ? [] : [`signal: ${cause}`]),
    ...(stderrCut ? [`stderr: cut off at ${OUTPUT_LIMIT_BYTES} bytes`] : []),
  ];
}
