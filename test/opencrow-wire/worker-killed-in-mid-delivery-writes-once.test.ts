import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { sendDatagram } from '../../examples/simulated-opencrow/lifecycle-emitter';
import type { DebugPoint } from '../../domain/debug-point';
import { eventually } from '../support/eventually';
import { FakeControlPlane, claimAnswer, takeAll, type Answer } from '../support/fake-control-plane';
import { TestFifo } from '../support/fifo';
import { startScript, type TestProcess } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

/** A worker process with nothing but the executor. Delivers one workload, or only starts with work id `none`. */
const WORKER = `
  const { createOpenCrowExecutor } = require('$dist/executors/opencrow/index.js');
  const { ControlPlaneClient } = require('$dist/executors/control-plane-client.js');
  const { Secret } = require('$dist/contracts/secret.js');
  const [baseUrl, triggerPipe, folder, workId] = process.argv.slice(-4);
  const logger = require('pino')({ level: 'warn' });
  const control = new ControlPlaneClient({ baseUrl, workerId: 'w1', credential: () => new Secret('c') });
  const never = new AbortController().signal;
  const executor = createOpenCrowExecutor({ triggerPipe, lifecycleSocket: folder + '/l.sock', spoolDir: folder + '/spool', logger });
  (async () => {
    await executor.start(control);
    process.stdout.write('started\\n');
    if (workId === 'none') return;
    const context = { control, heartbeat() {}, cancelSignal: never, drainSignal: never, logger };
    process.stdout.write('outcome ' + JSON.stringify(await executor.deliver({ workId }, context)) + '\\n');
  })();`;

const INTENT: Answer = {
  json: { delivery_number: 1, delivery_id: 'wl_1', expires_at: '2030-01-01T00:00:00Z', ttl_ms: 60_000 },
};

class Stage {
  readonly api = new FakeControlPlane();
  readonly fifo = new TestFifo().openReader();
  readonly folder = temporaryFolder();
  /** As the ledger would: an intent once recorded is not recorded again. */
  intended = false;

  constructor() {
    this.api.answer = (request) => {
      if (request.route === 'lifecycle') return takeAll(request);
      if (request.route === 'claims') return this.intended ? { problem: 'delivery.maybe_written' } : claimAnswer();
      if (request.route === 'complete' && !this.intended) return { problem: 'workload.state_conflict' };
      if (request.route === 'intent') this.intended = true;
      return request.route === 'intent' ? INTENT : { json: { state: 'delivered', wait_ms: null } };
    };
  }

  worker(workId: string, debugPoint?: string): TestProcess {
    const args = [this.api.baseUrl, this.fifo.path, this.folder, workId];
    return startScript(WORKER, args, debugPoint === undefined ? {} : { WORKLOADD_DEBUG_POINT: debugPoint });
  }

  leases(): string[] {
    const folder = join(this.folder, 'spool', 'leases');
    return existsSync(folder) ? readdirSync(folder) : [];
  }
}

let stage: Stage;
beforeEach(async () => {
  stage = new Stage();
  await stage.api.start();
});
afterEach(async () => {
  stage.fifo.closeReader();
  await stage.api.stop();
});

const UNKNOWN = { write: 'unknown', detail: 'worker restarted' };

test.each<[DebugPoint, number, Record<string, unknown>[]]>([
  ['before-claim', 1, [{ write: 'written' }]],
  ['after-claim', 1, [{ write: 'written' }]],
  ['before-intent', 1, [{ write: 'written' }]],
  ['after-intent', 0, [UNKNOWN]],
  ['after-write', 1, [UNKNOWN]],
  ['after-report', 1, [{ write: 'written' }]],
])(
  'killed %s: after a restart the line was written %i times and that is what is reported',
  async (point, lines, reports) => {
    const first = stage.worker('wl_1', point);
    expect(await first.ended).toMatchObject({ signal: 'SIGKILL' });
    const second = stage.worker('wl_1');
    await second.output(/outcome/);
    await eventually(() => stage.leases().length === 0);
    const completed = stage.api.seen.filter(
      ({ route }, at) => route === 'complete' && stage.api.routes().indexOf('intent') < at,
    );
    const last = completed.map(({ body }) => body).slice(-reports.length);
    expect(last).toEqual(reports);
    expect(stage.fifo.read().match(/workload\.v1/g) ?? []).toHaveLength(lines);
    await second.kill9();
  },
);

test('a written line whose report never got through is reported as written by the next start', async () => {
  const answer = stage.api.answer;
  stage.api.answer = (request) => (request.route === 'complete' ? 'down' : answer(request));
  const first = stage.worker('wl_1');
  await eventually(() => stage.api.routes().filter((route) => route === 'complete').length >= 2);
  await first.kill9();
  stage.api.answer = answer;
  const before = stage.api.seen.length;
  const second = stage.worker('none');
  await eventually(() => stage.leases().length === 0 && stage.api.seen.length > before);
  expect(stage.api.seen.slice(before).map(({ route, body }) => [route, body])).toEqual([
    ['complete', { write: 'written' }],
  ]);
  expect(stage.fifo.read().match(/workload\.v1/g)).toHaveLength(1);
  await second.kill9();
});

test.each<[DebugPoint]>([['after-append'], ['before-forward'], ['after-forward']])(
  'a datagram received by a process killed %s reaches the api',
  async (point) => {
    const first = stage.worker('none', point);
    await first.output(/started/);
    const event =
      '{"version":1,"type":"workload.lifecycle","event_id":"e","workload_id":"wl-1","status":"running","occurred_at":"t"}';
    expect(await sendDatagram(join(stage.folder, 'l.sock'), Buffer.from(event), 1_000)).toBeNull();
    expect(await first.ended).toMatchObject({ signal: 'SIGKILL' });
    const second = stage.worker('none');
    await eventually(() => stage.api.lifecycle().length >= 1);
    expect(new Set(stage.api.lifecycle().map((record) => JSON.stringify(record))).size).toBe(1);
    await second.kill9();
  },
);
