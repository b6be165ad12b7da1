import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, ROLES, type Story } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { when } from '../support/policy';

const SEED = Number(process.env['WORKLOADD_TEST_SEED'] ?? 20_260_101);
const EVENTS = 40;
const KILLS = 14;
const KILL_EVERY_MS = 1_000;
/** Long enough that OpenCrow is at work most of the time. */
const WORK_MS = 250;

/** What an agent does with events of an action, and what may become of them; `lost` is the price of a kill in mid-work. */
const MIXED: Record<string, { script?: object } & Story> = {
  complete: { ends: ['completed', 'lost'], deliveries: 1 },
  again: { ends: ['completed', 'lost'], deliveries: 2 },
  quiet: { script: { behaviour: 'suppress_reply' }, ends: ['completed', 'lost'], deliveries: 1 },
  fail: { script: { behaviour: 'fail' }, ends: ['failed', 'lost'], deliveries: 1 },
  abort: { script: { behaviour: 'abort' }, ends: ['aborted', 'lost'], deliveries: 1 },
  preempt: { script: { behaviour: 'preempt_then_complete' }, ends: ['completed', 'lost'], deliveries: 1 },
  twice: { script: { behaviour: 'duplicate_events' }, ends: ['completed', 'lost'], deliveries: 1 },
  unheard: { script: { behaviour: 'lose_running' }, ends: ['completed', 'lost'], deliveries: 1 },
  endless: { script: { behaviour: 'lose_terminal' }, ends: ['lost'], deliveries: 2 },
  ignored: { ends: ['ignored'], deliveries: 0 },
};

const cluster = Cluster.prepare({
  maxOpenDeliveries: 4,
  script: {
    default: { behaviour: 'complete', after_ms: WORK_MS },
    rules: Object.entries(MIXED).flatMap(([action, { script }]) =>
      script ? [{ match: { action }, after_ms: WORK_MS, ...script }] : [],
    ),
  },
  rules: [
    when('ignored', 'event.action == "ignored"', 'decision: ignore'),
    ...['again', 'all'].map((id) =>
      when(
        id,
        id === 'all' ? 'true' : 'event.action in ["again", "endless"]',
        'decision: dispatch, to: { pool: crows }, deadlines: { queued: 5m, start: 6s, run: 2s, resume: 2s, late: 3s }' +
          (id === 'all' ? '' : ', retry: { redeliver_on: [lost] }'),
      ),
    ),
  ],
});
afterAll(async () => (await cluster).close(), 60_000);

/** The same numbers for the same seed (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

test(`${EVENTS} events under ${KILLS} kills of any process (seed ${SEED}) end once, each as its story allows`, async () => {
  const system = await cluster;
  const random = seeded(SEED);
  await system.start(...ROLES);
  const posting = (async () => {
    const actions = Object.keys(MIXED);
    for (let number = 0; number < EVENTS; number += 1) {
      const action = actions[number % actions.length]!;
      const { ends, deliveries } = MIXED[action]!;
      await system.post({ ends, deliveries }, { action });
      await sleep((KILLS * KILL_EVERY_MS) / EVENTS);
    }
  })();
  const restarts: Promise<void>[] = [];
  let killed = 0;
  while (killed < KILLS) {
    await sleep(KILL_EVERY_MS / 2 + random(KILL_EVERY_MS));
    const running = ROLES.filter((role) => system.isRunning(role));
    const victim = running[random(running.length)];
    if (victim === undefined) continue;
    await system.kill(victim);
    killed += 1;
    restarts.push(system.start(victim));
  }
  await Promise.all(restarts);
  await posting;
  await expectAllEndedOnce(system, 150_000);
  await system.stop();
}, 300_000);
