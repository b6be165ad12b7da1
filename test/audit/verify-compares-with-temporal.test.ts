import { verifyTemporal } from '../../activities/verify-temporal';
import { workflowIdOf } from '../../contracts/names';
import { DrivenSystem, dispatchAll } from '../support/driven-system';
import { eventually } from '../support/eventually';

let system: DrivenSystem;
beforeAll(async () => {
  system = await DrivenSystem.start(dispatchAll());
});
afterAll(() => system.stop());

async function found(): Promise<(string | undefined)[][]> {
  const findings: (string | undefined)[][] = [];
  const { client } = system.namespace;
  await verifyTemporal({
    db: system.db,
    client,
    report: ({ code, workload_id }) => void findings.push([code, workload_id]),
    progress: () => undefined,
    quietSeconds: 0,
  });
  return findings;
}

test('runs that are missing, left over, or ended otherwise are named', async () => {
  const ids: string[] = [];
  for (let index = 0; index < 4; index += 1) ids.push((await system.post()).workloadId);
  const [done, open, stray, wrong] = ids as [string, string, string, string];
  await eventually(() => system.deliveries.length === 4);
  for (const id of [done, wrong]) {
    await system.report(id, 'running');
    await system.report(id, 'completed');
    await system.workflow(id).result();
  }
  await eventually(async () => expect(await found()).toEqual([]));

  // The sweep would start it again, so it must not see it.
  await system.db.query("UPDATE workloads SET swept_at = 'infinity' WHERE workload_id = $1", [open]);
  await system.workflow(open).terminate();
  await system.db.query("UPDATE workloads SET state = 'cancelled', closed = true WHERE workload_id = $1", [stray]);
  await system.db.query("UPDATE workloads SET state = 'failed' WHERE workload_id = $1", [wrong]);
  await system.namespace.client.workflow.start('workload', {
    taskQueue: 'nobody',
    workflowId: workflowIdOf('wl_unknown'),
    args: [{ workload_id: 'wl_unknown' }],
  });
  await eventually(async () =>
    expect((await found()).sort()).toEqual(
      [
        ['temporal.run_missing', open],
        ['temporal.run_open_after_end', stray],
        ['temporal.result_mismatch', wrong],
        ['temporal.unknown_workload', 'wl_unknown'],
      ].sort(),
    ),
  );
}, 60_000);
