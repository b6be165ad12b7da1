import { RUN_VARIABLES } from '../../contracts/run';
import type { Backend, CheckedRequest, RunContext, RunEnd } from '../backend';
import { OUTPUT_LIMIT_BYTES, runChild, type ChildEnd } from '../child-run';
import { endLeftRuns } from './left-runs';
import { RunNotes } from './run-notes';

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
    const note = noteOf(context);
    try {
      note(null);
    } catch {
      return { type: 'refused', code: 'backend-not-ready', reason: 'the folder of the runs cannot be written' };
    }
    const end = await runChild({
      ...request,
      env: hostEnvironment(request, context.hostEnv),
      signal: context.signal,
      output: context.output,
      spawned: (pid) => {
        context.started?.();
        try {
          note(pid);
        } catch {
          // The note without the pid is there; what is left is found by its variables.
        }
      },
    });
    note('ended');
    const why = whyCut(end, request.timeoutMs);
    return {
      type: 'exited',
      exitCode: end.exitCode,
      stdoutDigest: end.stdoutDigest,
      notes: ['runtime: node', ...notesOf(end)],
      ...(why === null ? {} : { why }),
    };
  },

  tidy: ({ runsFolder, running }) => endLeftRuns({ folder: runsFolder, running }),
};

/** Notes where a run stands; before it is started, with its pid, and no more when it has ended. */
function noteOf({ runsFolder, runKey, variables }: RunContext): (at: null | number | 'ended') => void {
  if (runsFolder === undefined) return () => undefined;
  const notes = new RunNotes(runsFolder);
  const deliveryId = variables?.[RUN_VARIABLES.deliveryId] ?? null;
  return (at) => (at === 'ended' ? notes.remove(runKey) : notes.write(runKey, deliveryId, at));
}

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
