import { builtInBackends } from '../../executors/backends';
import { backendSettings } from '../commands/exec';
import type { ConfigOf } from '../config';
import { CommandFailed } from '../exit-codes';
import type { Check } from './agent-checks';

/** Whether each backend that the options have a worker offer could run something now, as who runs `doctor`. */
export function backendChecks(config: ConfigOf<'doctor'>): Check[] {
  const { backends: offered } = config;
  if (offered.length === 0) {
    return [['backends', () => Promise.resolve({ skipped: '--backends names none, so no commands are run' })]];
  }
  return builtInBackends(backendSettings(config))
    .filter(({ spec }) => offered.some((kind) => kind === spec.id))
    .map((backend) => [
      `backend ${backend.spec.id}`,
      async () => {
        const { ready, checks } = await backend.probe({ hostEnv: process.env });
        const told = checks
          .filter(({ ok }) => ok === ready)
          .map(({ name, detail }) => `${name}: ${detail}`)
          .join('; ');
        if (ready) return told;
        throw new CommandFailed(`what is given to it is refused: ${told}`);
      },
    ]);
}
