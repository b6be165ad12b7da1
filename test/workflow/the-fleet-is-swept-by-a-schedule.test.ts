import { pino } from 'pino';
import { FLEET_SWEEP_SCHEDULE } from '../../contracts/workflow';
import { noteWatching } from '../../ledger/fleet-watch';
import { ensureFleetSchedule } from '../../workers/fleet-schedule';
import { DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';
import { policyText } from '../support/policy';

let system: DrivenSystem;
beforeAll(async () => {
  system = await DrivenSystem.start(policyText('{ id: all, when: "true", decision: dispatch }'), { poolWorker: false });
});
afterAll(() => system.stop());

test('a silent worker is found by the Schedule, which is made once by however many start', async () => {
  const { client } = system.namespace;
  const logger = pino({ level: 'silent' });
  await Promise.all([1, 2, 3].map(() => ensureFleetSchedule(client, logger)));
  const schedule = client.schedule.getHandle(FLEET_SWEEP_SCHEDULE);
  const { policies, spec } = await schedule.describe();
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 60_000 });
  expect(spec.intervals).toMatchObject([{ every: 300_000 }]);

  await noteWatching(system.db);
  await system.db.query("UPDATE fleet_watch SET since = since - interval '1 hour'");
  await system.db.query(
    "UPDATE workers SET last_heartbeat_at = clock_timestamp() - interval '2 minutes', status_changed_at = clock_timestamp() - interval '1 hour'",
  );
  await schedule.trigger();
  await eventually(async () => {
    const [worker] = await system.db.query<{ status: string }>('SELECT status FROM workers');
    expect(worker!.status).toBe('unhealthy');
  });
  await schedule.delete();
});
