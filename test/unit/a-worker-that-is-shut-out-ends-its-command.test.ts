import pino from 'pino';
import { Problem } from '../../contracts/problems';
import { Secret } from '../../contracts/secret';
import { LeaseKeeper } from '../../executors/command/lease-keeper';
import { ControlPlaneUnavailable, type ControlPlaneClient } from '../../executors/control-plane-client';
import { eventually } from '../support/eventually';

const keepers: LeaseKeeper[] = [];
afterEach(async () => {
  for (const keeper of keepers.splice(0)) await keeper.stop();
});

/** A keeper of a short lease, and how often it has asked; each of its renewals fails like this. */
function keeperOf(error: Error): { keeper: LeaseKeeper; asked: () => number } {
  let asked = 0;
  const renew = (): Promise<never> => {
    asked += 1;
    return Promise.reject(error);
  };
  const control = { renew } as unknown as ControlPlaneClient;
  const lease = { workId: 'wl_x', epoch: 1, token: new Secret('x') };
  const keeper = new LeaseKeeper(control, lease, pino({ level: 'silent' }));
  keepers.push(keeper);
  keeper.start(30);
  return { keeper, asked: () => asked };
}

test.each(['auth.required', 'auth.scope_required'] as const)(
  '%s ends the lease when its life is over',
  async (code) => {
    const { keeper } = keeperOf(new Problem(code, 'revoked'));
    await eventually(() => expect(keeper.over.aborted).toBe(true));
  },
);

test('an api that is away, or asks to wait, ends nothing', async () => {
  for (const error of [new ControlPlaneUnavailable('ECONNREFUSED', null), new Problem('worker.paused', 'paused')]) {
    const { keeper, asked } = keeperOf(error);
    await eventually(() => expect(asked()).toBeGreaterThan(2));
    expect(keeper.over.aborted).toBe(false);
  }
});
