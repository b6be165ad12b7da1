import { randomBytes } from 'node:crypto';
import { bundledProfile } from '../domain/execution/sandbox-profiles';
import { nodeBackend } from '../executors/node/node-backend';
import { runCommand } from '../executors/run-command';
import { spawnTrue } from './bare/spawn-true';
import { interleaved, type PairSample } from './measure';

/** What is compared at each number at once. */
export interface AloneAndTogether {
  alone: PairSample;
  together: PairSample;
}

export const AT_ONCE = 10;

/** A `true` run by the node backend (gates, digest, envelope) beside a bare spawn of `true`, both in this process. */
export async function compareSpawn(rounds: number): Promise<AloneAndTogether> {
  const profile = bundledProfile('default')!;
  const signal = new AbortController().signal;
  const ours = async (): Promise<void> => {
    const { status } = await runCommand(nodeBackend, { command: 'true', cwd: process.cwd() }, profile, {
      signal,
      hostEnv: process.env,
      runKey: `bench-${randomBytes(10).toString('hex')}`,
      output: () => undefined,
    });
    if (status !== 'completed') throw new Error(`true was ${status}`);
  };
  const pair = { bare: spawnTrue, ours };
  const settings = { rounds, perRound: 100, warmUp: 30 };
  return {
    alone: await interleaved(pair, { ...settings, inFlight: 1 }),
    together: await interleaved(pair, { ...settings, inFlight: AT_ONCE }),
  };
}
