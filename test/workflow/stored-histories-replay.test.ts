import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils';
import { Worker } from '@temporalio/worker';
import { version } from '../../package.json';
import { DrivenSystem } from '../support/driven-system';
import { testEnvironment } from '../support/environment';
import { eventually } from '../support/eventually';

/**
 * Histories of every released version; `WORKLOADD_RECORD_HISTORIES=1 npx jest stored-histories` writes those of this one.
 * A change of the workflow that cannot replay them would break workloads that are under way during an update.
 */
const FOLDER = path.join(__dirname, '..', 'histories');

const POLICY = `
version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - id: twice
    when: 'event.action == "twice"'
    decision: dispatch
    deadlines: { start: 1s }
    retry: { redeliver_on: [lost], max_deliveries: 2 }
  - { id: held, when: 'event.action == "held"', decision: hold, hold: { deadline: 1h } }
  - id: command
    when: 'event.action == "command"'
    decision: dispatch
    to: { executor: node }
    run: { command: make, args: [all] }
  - { id: work, when: 'event.action == "work"', decision: dispatch }
`;

const stored = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));

if (process.env['WORKLOADD_RECORD_HISTORIES'] === '1') {
  test('record the histories of this version', record);
} else {
  test('there are histories of this version', () => {
    expect(stored.filter((name) => name.startsWith(version)).length).toBeGreaterThan(0);
  });

  test.each(stored)('%s replays', async (name) => {
    const history = historyFromJSON(JSON.parse(readFileSync(path.join(FOLDER, name), 'utf8')));
    await Worker.runReplayHistory({ workflowBundle: { codePath: testEnvironment.workflowBundle } }, history);
  });
}

async function saveFrom(system: DrivenSystem, name: string, id: string): Promise<void> {
  await eventually(async () => expect((await system.workflow(id).describe()).status.name).toBe('COMPLETED'));
  mkdirSync(path.join(FOLDER, version), { recursive: true });
  const json = withoutMachine(historyToJSON(await system.workflow(id).fetchHistory()));
  writeFileSync(path.join(FOLDER, version, `${name}.json`), `${json}\n`);
}

async function recordCommands(): Promise<void> {
  const system = await DrivenSystem.start(POLICY, { poolWorker: false });
  await system.startCommandWorker();
  const run = async (): Promise<string> => {
    const { workloadId } = await system.post({ action: 'command' });
    await eventually(async () => expect((await system.row(workloadId)).state).toBe('running'));
    // Shown, so that its history has the wake of it before its end.
    await new Promise((resolve) => setTimeout(resolve, 500));
    return workloadId;
  };
  const [completed, cancelled] = [await run(), await run()];
  await system.operate(cancelled, { action: 'cancel' });
  await new Promise((resolve) => setTimeout(resolve, 500));
  system.endCommands();
  await saveFrom(system, 'command-completed', completed);
  await saveFrom(system, 'command-cancelled', cancelled);
  await system.stop();
}

async function record(): Promise<void> {
  const system = await DrivenSystem.start(POLICY);
  const until = (id: string, state: string): Promise<unknown> =>
    eventually(async () => expect((await system.row(id)).state).toBe(state));
  const save = (name: string, id: string): Promise<void> => saveFrom(system, name, id);

  const { workloadId: ignored } = await system.post({ action: 'other' });
  await save('ignored', ignored);

  const { workloadId: done } = await system.post({ action: 'work' });
  await until(done, 'delivered');
  for (const status of ['running', 'preempted', 'running', 'completed'] as const) {
    await system.report(done, status);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await save('preempted-then-completed', done);

  const { workloadId: held } = await system.post({ action: 'held' });
  await until(held, 'held');
  await system.operate(held, { action: 'approve' });
  await until(held, 'delivered');
  await system.operate(held, { action: 'cancel' });
  await save('approved-then-cancelled', held);

  const { workloadId: twice } = await system.post({ action: 'twice' });
  await eventually(async () => expect((await system.row(twice)).delivery).toBe(2));
  await system.report(twice, 'failed', 2);
  await save('lost-then-redelivered', twice);
  await system.stop();
  await recordCommands();
}

/** A history that says nothing of the machine it was recorded on. */
const withoutMachine = (json: string): string =>
  json
    .replaceAll(/"identity": ?"[^"]*"/g, '"identity": "worker"')
    .replaceAll(/"name": ?"\d+@[^"]*"/g, '"name": "worker"')
    .replaceAll(/"stackTrace": ?"(?:[^"\\]|\\.)*"/g, '"stackTrace": ""');
