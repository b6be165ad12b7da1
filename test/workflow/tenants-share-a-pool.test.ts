import { parsePolicy } from '../../domain/policy/parse';
import { acceptEvent } from '../../ledger/accept';
import { activatePolicy } from '../../ledger/policies';
import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';

let system: DrivenSystem;
beforeAll(async () => (system = await DrivenSystem.start(dispatchAll(), { poolWorker: false })));
afterAll(() => system.stop());

test('a tenant who posted thirty first does not starve the one event of another', async () => {
  const source = dispatchAll();
  await system.db.query("INSERT INTO tenants (tenant_id) VALUES ('other')");
  await activatePolicy(system.db, 'other', { source, hash: parsePolicy(source).policy.hash }, 'test');

  const first = await Promise.all(Array.from({ length: 30 }, () => system.post()));
  const offered = async (ids: string[]): Promise<void> => {
    const runs = await Promise.all(ids.map((id) => system.workflow(id).describe()));
    for (const run of runs) expect(run.raw.pendingActivities).toHaveLength(1);
  };
  await eventually(() => offered(first.map(({ workloadId }) => workloadId)), { timeout: 60_000, interval: 250 });
  const event = { source: 'rss', action: 'triage', event_id: 'single', data: {} };
  const { workloadId: single } = await acceptEvent(system.db, 'other', event, 'test');
  await eventually(() => offered([single]), { timeout: 30_000, interval: 100 });

  await system.startPoolWorker({ maxConcurrentActivityTaskExecutions: 1 });
  await eventually(() => system.deliveries.includes(single), { timeout: 60_000 });
  expect(system.deliveries.indexOf(single)).toBeLessThan(10);
}, 150_000);
