import { writeFileSync } from 'node:fs';
import path from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { startServer, type RunningServer } from '../../api/server';
import { enrolWorker } from '../../ledger/enrol-worker';
import { orderWorker } from '../../ledger/worker-orders';
import { createToken } from '../../ledger/tokens';
import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { testEnvironment } from '../support/environment';
import { eventually } from '../support/eventually';
import { startProcess, type TestProcess } from '../support/processes';
import { pythonWith } from '../support/python-environment';
import { temporaryFolder } from '../support/temporary-folder';

const EXAMPLE = path.resolve(__dirname, '../../examples/python-worker');
const LEASE_MS = 3_000;
const RULE = 'to: { executor: managed }, trigger: { prompt: Look }, retry: { redeliver_on: [lost], max_deliveries: 2 }';
const found = pythonWith(path.join(EXAMPLE, 'requirements.txt'));

if ('why' in found) test.skip(`the Python worker cannot run here (${found.why})`, () => undefined);
else
  describe('the Python worker of the examples', () => {
    const { python } = found;
    let system: DrivenSystem;
    let api: RunningServer;
    let token: string;
    const folder = temporaryFolder();
    const workers = new Map<string, TestProcess>();

    async function startWorker(workerId: string, poolId = 'default'): Promise<TestProcess> {
      const { plaintext } = await enrolWorker(system.db, { workerId, poolId, maxOpenDeliveries: 2, actor: 'test' });
      const credentialFile = path.join(folder, workerId);
      writeFileSync(credentialFile, plaintext.reveal(), { mode: 0o600 });
      const process = startProcess(python, [path.join(EXAMPLE, 'worker.py')], {
        env: {
          WORKLOADD_API_URL: api.url,
          WORKLOADD_WORKER_ID: workerId,
          WORKLOADD_WORKER_CREDENTIAL_FILE: credentialFile,
          TEMPORAL_ADDRESS: testEnvironment.temporalAddress,
          TEMPORAL_NAMESPACE: system.namespace.name,
        },
      });
      workers.set(workerId, process);
      return process;
    }

    const post = async (data: Record<string, number | boolean>): Promise<string> =>
      (await system.post({ data })).workloadId;
    const state = (id: string, wanted: string): Promise<unknown> =>
      eventually(async () => (await system.row(id)).state === wanted || (await told(id)), { timeout: 30_000 });
    /** Fails with what is known, for the message. */
    async function told(id: string): Promise<never> {
      const errors = [...workers].map(([workerId, { stderr }]) => `${workerId}: ${stderr.slice(-1_000)}`);
      throw new Error(`${JSON.stringify(await system.row(id))}\n${errors.join('\n')}`);
    }
    async function read<T>(route: string): Promise<T> {
      const response = await fetch(`${api.url}/api/workloads/${route}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return (await response.json()) as T;
    }
    const eventsOf = async (id: string): Promise<unknown[]> => {
      const { events } = await read<{ events: { type: string; sequence: number; delivery: number }[] }>(`${id}/events`);
      return events.map(({ type, sequence, delivery }) => [delivery, sequence, type]);
    };
    interface Run {
      worker_id: string;
      run: { status: string; code: string | null } | null;
    }
    const deliveriesOf = async (id: string): Promise<Run[]> => (await read<{ deliveries: Run[] }>(id)).deliveries;

    beforeAll(async () => {
      system = await DrivenSystem.start(dispatchAll(RULE), { poolWorker: false });
      const logger = pino({ level: 'silent' });
      const deps = { db: system.db, wakes: system.hints, temporalReady: () => Promise.resolve(true), logger };
      api = await startServer({
        listen: { port: 0 },
        deps: { ...deps, registry: new Registry(), config: { commandLeaseMs: LEASE_MS } },
      });
      token = (
        await createToken(system.db, { tenantId: 'default', name: 'test', scopes: ['admin'] })
      ).plaintext.reveal();
      await startWorker('one');
      await startWorker('drained', 'others');
    });
    afterAll(async () => {
      await Promise.all([...workers.values()].map((each) => each.kill9()));
      await api?.close(2_000);
      await system?.stop();
    });

    test('does the work, tells of it and says how it ended', async () => {
      const [well, badly] = await Promise.all([post({ seconds: 0 }), post({ seconds: 0, fail: true })]);
      await Promise.all([state(well, 'completed'), state(badly, 'failed')]);
      expect(await eventsOf(well)).toEqual([
        [1, 1_000_001, 'work.begun'],
        [1, 1_000_002, 'work.done'],
      ]);
      expect((await deliveriesOf(badly)).map(({ run }) => run)).toEqual([
        { status: 'failed', code: 'asked_to_fail', summary: null },
      ]);
      await system.workflow(well).result();
    });

    test('learns of a cancel, and says that the work is over', async () => {
      const id = await post({ seconds: 300 });
      await state(id, 'running');
      await system.operate(id, { action: 'cancel' });
      await state(id, 'cancelled');
      await eventually(async () => expect((await deliveriesOf(id))[0]!.run?.status).toBe('cancelled'));
      await system.workflow(id).result();
    });

    test('killed, it loses its work by its lease, and another one does it again', async () => {
      const id = await post({ seconds: 1.5 });
      await eventually(async () => (await eventsOf(id)).length === 1 || (await told(id)));
      await workers.get('one')!.kill9();
      await startWorker('two');
      await state(id, 'completed');
      expect((await deliveriesOf(id)).map(({ worker_id }) => worker_id)).toEqual(['one', 'two']);
      expect(await eventsOf(id)).toEqual([
        [1, 1_000_001, 'work.begun'],
        [2, 2_000_001, 'work.begun'],
        [2, 2_000_002, 'work.done'],
      ]);
    });

    test('told to stop or to drain, it finishes what it holds and exits with 0', async () => {
      await system.db.transaction((tx) => orderWorker(tx, 'drained', 'drain', { actor: 'test', reason: 'test' }));
      const id = await post({ seconds: 1 });
      await state(id, 'running');
      expect(await workers.get('two')!.terminate()).toEqual({ code: 0, signal: null });
      expect((await system.row(id)).state).toBe('completed');
      expect(await workers.get('drained')!.ended).toEqual({ code: 0, signal: null });
    });
  });
