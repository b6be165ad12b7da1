import type { ExecutionEnvelope, ExecutionHandle, RefusalCode } from '../../contracts/execution';
import type { RunSpec } from '../../contracts/run';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import { Envelopes } from '../../domain/execution/envelopes';
import { textDigest } from '../../domain/execution/evidence';
import { aRun } from './fresh-ledger';

interface Told {
  backend?: 'node' | 'container' | 'remote' | 'ci';
  run?: RunSpec;
  handle?: ExecutionHandle;
}

/** The envelope of a run that ended with this exit code. */
export const exitedWith = (exitCode: number | null, told: Told = {}): ExecutionEnvelope =>
  envelopes(told).exited({ exitCode, stdoutDigest: textDigest('done\n') });

/** The envelope of a run that was refused, or of which nobody knows whether it ran. */
export const refusedAs = (code: RefusalCode, told: Told & { unknown?: boolean } = {}): ExecutionEnvelope =>
  envelopes(told).refused(code, 'for the test', { unknown: told.unknown === true });

function envelopes({ backend = 'node', run = aRun(), handle }: Told): Envelopes {
  const support = { read: 'attest', write: 'attest', command: 'enforce', network: 'attest', env: 'enforce' } as const;
  const local = backend === 'node' || backend === 'container';
  const made = new Envelopes(
    { id: backend, kind: backend === 'node' ? 'local' : 'delegating', locality: local ? 'local' : 'remote', support },
    bundledProfile(run.sandbox)!,
    { command: run.command, args: run.args, cwd: '/' },
  );
  made.handle = handle;
  return made;
}
