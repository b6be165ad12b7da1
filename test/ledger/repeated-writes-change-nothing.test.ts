import * as fc from 'fast-check';
import { COMMAND_STATES, WORK_LIMITS, type WorkEvent } from '../../contracts/work-writes';
import { Problem } from '../../contracts/problems';
import { prune } from '../../ledger/sweeps';
import { eventsAfter, writeEvents } from '../../ledger/work-writes/events';
import { finalizeRun, writeArtifact, writeCommandStatus, writeUsage } from '../../ledger/work-writes/records';
import { writeCheckpoint, writeProjection } from '../../ledger/work-writes/snapshots';
import { reportRun } from '../../ledger/work-writes/run-status';
import { FreshLedger, problemOf, race, refusal, type Delivered } from '../support/fresh-ledger';
import { SHA256, WORK_WRITES } from '../support/work-writes';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const begun = (): Promise<Delivered> => ledger.delivered({ executor: 'managed' });
const codeOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    await call;
    return 'ok';
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
};

/** What there should be of one workload, in the simplest words. */
class Model {
  readonly events = new Map<string, WorkEvent>();
  readonly commands = new Map<string, { sequence: number; rank: number; status: string }>();
  last = 0;
  projection = { sequence: 0, n: 0 };
  checkpoint = { version: 0, schema: 0 };

  writeEvents(batch: WorkEvent[]): string {
    const known = batch.flatMap((event) => this.events.get(event.event_id) ?? []);
    const same = (event: WorkEvent): boolean => batch.some((each) => JSON.stringify(each) === JSON.stringify(event));
    if (!known.every(same)) return 'idempotency.content_mismatch';
    const added = batch.filter((event) => !this.events.has(event.event_id));
    if (added.length > 0 && added[0]!.sequence <= this.last) return 'sequence.not_monotonic';
    for (const event of added) this.events.set(event.event_id, event);
    this.last = added.at(-1)?.sequence ?? this.last;
    return 'ok';
  }

  writeCommand(id: string, sequence: number, status: (typeof COMMAND_STATES)[number]): string {
    const rank = Math.min(COMMAND_STATES.indexOf(status), 2);
    const kept = this.commands.get(id);
    if (kept && kept.sequence !== sequence) return 'idempotency.content_mismatch';
    if (kept && kept.status !== status && rank <= kept.rank) return 'workload.state_conflict';
    this.commands.set(id, { sequence, rank, status });
    return 'ok';
  }

  writeProjection(sequence: number, n: number): string {
    if (sequence < this.projection.sequence) return 'sequence.not_monotonic';
    if (sequence === this.projection.sequence && n !== this.projection.n) return 'idempotency.content_mismatch';
    this.projection = { sequence, n };
    return 'ok';
  }

  writeCheckpoint(version: number, schema: number): string {
    if (version === this.checkpoint.version && schema === this.checkpoint.schema) return 'ok';
    if (version !== this.checkpoint.version + 1) return 'checkpoint.version_stale';
    this.checkpoint = { version, schema };
    return 'ok';
  }
}

type Step = (held: Delivered, model: Model) => Promise<[is: string, should: string]>;
const small = fc.integer({ min: 1, max: 4 });
const batch = fc
  .uniqueArray(
    fc.record({
      id: fc.integer({ min: 1, max: 6 }),
      sequence: fc.integer({ min: 1, max: 9 }),
      n: fc.integer({ min: 0, max: 1 }),
    }),
    {
      minLength: 1,
      maxLength: 3,
      selector: ({ id }) => id,
    },
  )
  .map((events) => events.map(({ id, sequence, n }) => ({ event_id: `e${id}`, sequence, type: 't', payload: { n } })))
  .map((events) => events.sort((a, b) => a.sequence - b.sequence))
  .filter((events) => events.every((event, index) => index === 0 || event.sequence > events[index - 1]!.sequence));
const step: fc.Arbitrary<Step> = fc.oneof(
  batch.map((events): Step => async (held, model) => [
    await codeOf(writeEvents(ledger.db, held.write, events)),
    model.writeEvents(events),
  ]),
  fc
    .tuple(small, small, fc.constantFrom(...COMMAND_STATES))
    .map(([id, sequence, status]): Step => async (held, model) => [
      await codeOf(
        writeCommandStatus(ledger.db, held.write, { command_id: `c${id}`, sequence: (sequence % 2) + 1, status }),
      ),
      model.writeCommand(`c${id}`, (sequence % 2) + 1, status),
    ]),
  fc
    .tuple(small, small)
    .map(([sequence, n]): Step => async (held, model) => [
      await codeOf(writeProjection(ledger.db, held.write, { sequence, view: { n } })),
      model.writeProjection(sequence, n),
    ]),
  fc
    .tuple(small, small)
    .map(([version, schema]): Step => async (held, model) => [
      await codeOf(writeCheckpoint(ledger.db, held.write, { version, schema, sha256: SHA256, size: 1 })),
      model.writeCheckpoint(version, schema),
    ]),
);

test('any writes in any order, repeated and contradicted, leave what the model has', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const held = await begun();
      const model = new Model();
      const rows = (await ledger.audit(held.workId)).length;
      for (const each of steps) {
        const [is, should] = await each(held, model);
        expect(is).toBe(should);
      }
      const read = (await eventsAfter(ledger.db, 'default', held.workId, { after: 0, limit: 500 }))!;
      const kept = [...model.events.values()].sort((a, b) => a.sequence - b.sequence);
      expect(
        read.events.map(({ event_id, sequence, type, payload }) => ({ event_id, sequence, type, payload })),
      ).toEqual(kept);
      const [row] = await ledger.db.query<{ checkpoint_schema: number | null; version: number }>(
        'SELECT w.checkpoint_schema, l.checkpoint_version::int AS version FROM workloads w JOIN leases l ON l.work_id = w.workload_id WHERE workload_id = $1',
        [held.workId],
      );
      const { version, schema } = model.checkpoint;
      expect(row).toEqual({ checkpoint_schema: version === 0 ? null : schema, version });
      expect((await ledger.audit(held.workId)).length).toBe(rows);
    }),
    { numRuns: 25 },
  );
});

test('a repeat is answered as before, with what the control plane named', async () => {
  const held = await begun();
  for (const [kind, write] of Object.entries(WORK_WRITES)) {
    if (kind === 'run-status') continue;
    const first = await write(ledger.db, held.write);
    expect(await write(ledger.db, held.write)).toEqual(first);
  }
  const artifact = {
    artifact_id: 'a',
    size: 10,
    sha256: SHA256,
    content_type: 'text/plain',
    retention_class: 'standard',
  } as const;
  const { object_key: key } = await writeArtifact(ledger.db, held.write, artifact);
  expect(key).toMatch(new RegExp(`^default/${held.workId}/1/artifacts/[0-9a-f]{64}$`));
  expect(await refusal(writeArtifact(ledger.db, held.write, { ...artifact, size: 11 }))).toBe(
    'idempotency.content_mismatch',
  );
  const usage = { event_id: 'u', kind: 'tokens', quantity: 6, unit: 'token' };
  expect(await refusal(writeUsage(ledger.db, held.write, usage))).toBe('idempotency.content_mismatch');
  expect(await refusal(finalizeRun(ledger.db, held.write, { run_id: 'r', status: 'failed' }))).toBe(
    'idempotency.content_mismatch',
  );
});

test('of eight that write the same sequence at once one gets through, and the limit holds', async () => {
  const held = await begun();
  const calls = Array.from(
    { length: 8 },
    (_each, n) => () => writeEvents(ledger.db, held.write, [{ event_id: `e${n}`, sequence: 1, type: 't', payload: n }]),
  );
  const answers = await race(calls);
  expect(answers.filter((answer) => answer === 'sequence.not_monotonic')).toHaveLength(7);
  await ledger.db.query('UPDATE work_events SET count_so_far = $2 WHERE workload_id = $1', [
    held.workId,
    WORK_LIMITS.events - 1,
  ]);
  const one = (n: number): WorkEvent => ({ event_id: `x${n}`, sequence: n, type: 't', payload: null });
  expect(await problemOf(writeEvents(ledger.db, held.write, [one(2), one(3)]))).toMatchObject({
    code: 'work.limit_reached',
    extra: { limit: WORK_LIMITS.events, used: WORK_LIMITS.events - 1 },
  });
  await writeEvents(ledger.db, held.write, [one(2)]);
});

test('what was written goes with the bodies, once the work has ended', async () => {
  const held = await begun();
  for (const write of Object.values(WORK_WRITES)) await write(ledger.db, held.write);
  const count = async (): Promise<number> => {
    const [row] = await ledger.db.query<{ n: number }>(
      `SELECT (SELECT count(*) FROM work_events WHERE workload_id = $1)::int + (SELECT count(*) FROM work_records WHERE workload_id = $1)::int
         + (SELECT count(*) FROM work_projections WHERE workload_id = $1)::int
         + (SELECT count(*) FROM work_checkpoints WHERE workload_id = $1)::int AS n`,
      [held.workId],
    );
    return row!.n;
  };
  const written = await count();
  expect(written).toBeGreaterThan(6);
  await prune(ledger.db, { bodyDays: 0, noiseDays: 365 });
  expect(await count()).toBe(written);
  await reportRun(ledger.db, held.write, { status: 'completed' });
  await prune(ledger.db, { bodyDays: 1, noiseDays: 365 });
  expect(await count()).toBe(written);
  await prune(ledger.db, { bodyDays: 0, noiseDays: 365 });
  expect(await count()).toBe(0);
});
