import { canonicalRow, GENESIS, sealHash } from '../../domain/audit-chain';
import { sealsAfter } from '../../ledger/audit-stream';
import type { Finding } from '../../domain/finding';
import { reportWrite } from '../../ledger/deliveries';
import { finishCommand } from '../../ledger/finish-command';
import { replayWithin } from '../../ledger/replays';
import { anchorsOf, findingsAfter, findingsOf, sealAll } from '../support/audit';
import { exitedWith } from '../support/envelopes';
import { FreshLedger } from '../support/fresh-ledger';

let ledger: FreshLedger;
let completed: string;
let running: string;
let ran: string;
let runs: string;
beforeAll(async () => {
  ledger = await FreshLedger.open();
  const first = await ledger.delivered({ dedupe: { key: 'a', window: 1000 } });
  await reportWrite(ledger.db, first.write, { write: 'written' });
  await ledger.report(first.principal, first.workId, 'running');
  await ledger.report(first.principal, first.workId, 'completed');
  const second = await ledger.delivered({ dedupe: { key: 'b', window: 1000 } });
  await ledger.report(second.principal, second.workId, 'running');
  const held = await ledger.admitted({ decision: 'hold' });
  await ledger.operate(held, { action: 'approve' });
  await ledger.operate(held, { action: 'cancel' });
  for (const decision of ['ignore', 'deny'] as const) await ledger.admitted({ decision });
  completed = first.workId;
  running = second.workId;
  const command = await ledger.delivered({ executor: 'node' });
  await finishCommand(ledger.db, command.write, { envelope: exitedWith(0) });
  ran = command.workId;
  runs = (await ledger.delivered({ executor: 'node' })).workId;
  await sealAll(ledger.db);
});
afterAll(() => ledger.close());

const after = (...statements: string[]): Promise<Finding[]> => findingsAfter(ledger.schema, statements);
const codesOf = (findings: Finding[]): string[] => [...new Set(findings.map(({ code }) => code))];
const at = (position: number): string =>
  `(SELECT seq FROM audit_seals WHERE chain = 'default' AND position = ${position})`;

test('a ledger that nobody touched has nothing to name', async () => {
  expect(await findingsOf(ledger.db, await anchorsOf(ledger.db))).toEqual([]);
});

test.each([
  ['UPDATE audit SET detail = detail || \'{"reason":"another"}\' WHERE seq = ', 'chain.row_changed'],
  ["UPDATE audit SET at = at + interval '1 microsecond' WHERE seq = ", 'chain.row_changed'],
  ["UPDATE audit SET actor = 'somebody' WHERE seq = ", 'chain.row_changed'],
  ['UPDATE audit SET workload_id = NULL WHERE seq = ', 'chain.row_changed'],
  ['UPDATE audit SET tenant_id = NULL WHERE seq = ', 'chain.row_changed'],
  ["UPDATE audit_seals SET hash = sha256('x') WHERE seq = ", 'chain.row_changed'],
  ['DELETE FROM audit WHERE seq = ', 'chain.row_missing'],
])('%s…: named at its place', async (statement, code) => {
  const found = (await after(statement + at(5))).filter((finding) => finding.code === code);
  expect(found[0]).toMatchObject({ chain: 'default', position: 5 });
});

test('a row taken out with its seal leaves a gap, and one put in past the sealer has none', async () => {
  const gap = await after(`DELETE FROM audit WHERE seq = ${at(5)}`, `DELETE FROM audit_seals WHERE seq = ${at(5)}`);
  expect(gap).toContainEqual(expect.objectContaining({ code: 'chain.rows_missing', chain: 'default', position: 5 }));
  const forged =
    "INSERT INTO audit (tenant_id, type, actor, at) VALUES ('default', 'forged', 'x', now() - interval '1 hour')";
  expect(codesOf(await after(forged))).toEqual(['chain.unsealed']);
});

test('two rows that changed places are named', async () => {
  const swapped = await after(
    "CREATE TEMP TABLE old AS SELECT * FROM audit_seals WHERE chain = 'default' AND position IN (5, 6)",
    "DELETE FROM audit_seals WHERE chain = 'default' AND position IN (5, 6)",
    'INSERT INTO audit_seals SELECT chain, 11 - position, seq, hash FROM old',
  );
  expect(codesOf(swapped)).toEqual(['chain.row_changed']);
});

test('a chain that was rewritten from a row on, or cut off at its end, is found by an anchor only', async () => {
  const anchors = await anchorsOf(ledger.db);
  const seals = await sealsAfter(ledger.db, 'default', 0, 1000);
  const rewritten = [`UPDATE audit SET actor = 'nobody' WHERE seq = ${at(2)}`];
  let prev: Buffer = GENESIS;
  for (const [index, seal] of seals.entries()) {
    prev = sealHash(prev, canonicalRow(index === 1 ? { ...seal, actor: 'nobody' } : seal));
    rewritten.push(`UPDATE audit_seals SET hash = '\\x${prev.toString('hex')}' WHERE seq = ${seal.sealed_seq}`);
  }
  expect(await after(...rewritten)).toEqual([]);
  expect(codesOf(await findingsAfter(ledger.schema, rewritten, anchors))).toEqual(['anchor.mismatch']);

  const last = seals.at(-1)!.sealed_seq;
  const cut = [`DELETE FROM audit WHERE seq = ${last}`, `DELETE FROM audit_seals WHERE seq = ${last}`];
  expect(codesOf(await findingsAfter(ledger.schema, cut, anchors))).toContain('anchor.beyond_end');
  expect(codesOf(await after(...cut))).not.toContain('anchor.beyond_end');
});

test.each([
  ["UPDATE workloads SET state = 'failed' WHERE workload_id = '$completed'", 'ledger.state_mismatch'],
  ["UPDATE workloads SET closed = false WHERE workload_id = '$completed'", 'ledger.closed_mismatch'],
  ["UPDATE workloads SET delivery = 3 WHERE workload_id = '$completed'", 'ledger.delivery_count_mismatch'],
  ["DELETE FROM events WHERE workload_id = '$completed'", 'ledger.event_missing'],
  ["DELETE FROM decisions WHERE workload_id = '$completed'", 'ledger.decision_missing'],
  ["UPDATE decisions SET rule_id = 'another' WHERE workload_id = '$completed'", 'ledger.decision_mismatch'],
  ["UPDATE decisions SET decision = 'ignore' WHERE workload_id = '$completed'", 'ledger.decision_mismatch'],
  ["DELETE FROM deliveries WHERE workload_id = '$completed'", 'ledger.delivery_missing'],
  ["UPDATE deliveries SET number = 2 WHERE workload_id = '$completed'", 'ledger.delivery_unexplained'],
  ["UPDATE leases SET closed_at = NULL WHERE work_id = '$completed'", 'ledger.lease_open_after_end'],
  ["UPDATE leases SET epoch = 7 WHERE work_id = '$running'", 'ledger.lease_epoch_mismatch'],
  ["UPDATE leases SET delivery = 2 WHERE work_id = '$running'", 'ledger.lease_without_delivery'],
  ["UPDATE dedupe_claims SET open = true WHERE workload_id = '$completed'", 'ledger.claim_mismatch'],
  ["DELETE FROM dedupe_claims WHERE workload_id = '$running'", 'ledger.claim_missing'],
  [
    "UPDATE workloads SET deadline_at = now() - interval '1 hour' WHERE workload_id = '$running'",
    'lifecycle.deadline_overdue',
  ],
  ["UPDATE workloads SET wake_at = now() - interval '1 hour' WHERE workload_id = '$running'", 'ledger.wake_unsent'],
  [
    "DELETE FROM lifecycle_events WHERE workload_id = '$completed' AND status = 'completed'",
    'lifecycle.evidence_missing',
  ],
  [
    "UPDATE lifecycle_events SET event_id = 'x' WHERE workload_id = '$completed' AND status = 'running'",
    'lifecycle.effect_missing',
  ],
  [
    "UPDATE lifecycle_events SET effect = 'double_execution' WHERE workload_id = '$completed' AND status = 'running'",
    'lifecycle.double_execution_unmarked',
  ],
  ["UPDATE deliveries SET execution = NULL WHERE workload_id = '$ran'", 'ledger.execution_missing'],
  [
    "UPDATE deliveries SET execution = replace(execution, 'exitCode:0', 'exitCode:1') WHERE workload_id = '$ran'",
    'ledger.execution_mismatch',
  ],
  ["UPDATE deliveries SET execution = 'x' WHERE workload_id = '$ran'", 'ledger.execution_mismatch'],
  ["UPDATE leases SET expires_at = now() - interval '1 hour' WHERE work_id = '$runs'", 'ledger.lease_overdue'],
  ["DELETE FROM audit WHERE workload_id = '$completed' AND type = 'event.accepted'", 'ledger.accepted_missing'],
  ["DELETE FROM audit WHERE workload_id = '$completed' AND type = 'workload.delivered'", 'ledger.timeline_broken'],
  [
    "DELETE FROM leases WHERE work_id = '$completed'; DELETE FROM workloads WHERE workload_id = '$completed'",
    'ledger.unknown_workload',
  ],
])('%s: %s', async (statement, code) => {
  const named = { $completed: completed, $running: running, $ran: ran, $runs: runs };
  const [, name] = /'(\$\w+)'/.exec(statement)!;
  const workId = named[name as keyof typeof named];
  const changed = await after(statement.replaceAll(name!, workId));
  const found = changed.filter((finding) => finding.code === code);
  expect([...new Set(found.map((finding) => finding.workload_id))]).toEqual([workId]);
});

test('work that stands in line for its key needs its place there, and no claim; work that went on without it needs neither', async () => {
  const inLine = await ledger.delivered({ dedupe: { key: 'c', on_duplicate: 'queue' } });
  const holder = await ledger.admitted({ dedupe: { key: 'd', window: 1000 } });
  const original = await ledger.admitted({ decision: 'ignore' });
  const order = { tenantId: 'default', workloadId: original, actor: 'test', reason: 'again', bypassDedupe: true };
  const { workloadId: replay } = await ledger.db.transaction((tx) => replayWithin(tx, order));
  const principal = await ledger.enrol();
  await ledger.admit(replay, { pool: principal.poolId, dedupe: { key: 'd', window: 1000 } });
  await ledger.delivered({}, { principal, workId: replay });
  await sealAll(ledger.db);
  expect((await ledger.workload(replay)).state).toBe('delivered');
  const involved = [inLine.workId, holder, replay];
  const found = async () => (await findingsOf(ledger.db)).filter((each) => involved.includes(each.workload_id!));
  expect(await found()).toEqual([]);
  await ledger.db.query('DELETE FROM lane_places WHERE workload_id = $1', [inLine.workId]);
  expect(await found()).toMatchObject([{ code: 'ledger.place_missing', workload_id: inLine.workId }]);
  await ledger.report(inLine.principal, inLine.workId, 'completed');
});

test('what happened against the plan is a notice, not a disagreement', async () => {
  const { principal, workId } = await ledger.delivered();
  await ledger.report(principal, workId, 'completed');
  await ledger.report(principal, workId, 'running');
  await ledger.report(principal, workId, 'completed');
  await ledger.report(principal, workId, 'completed', { number: 4 });
  await ledger.report(await ledger.enrol(), workId, 'completed');
  await sealAll(ledger.db);
  expect(codesOf(await findingsOf(ledger.db)).sort()).toEqual([
    'lifecycle.after_end',
    'lifecycle.double_execution',
    'lifecycle.mismatch',
    'lifecycle.unknown_delivery',
  ]);
});
