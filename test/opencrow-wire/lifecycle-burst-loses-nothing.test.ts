import { join } from 'node:path';
import pino from 'pino';
import { createOpenCrowExecutor } from '../../executors/opencrow/index';
import { eventually } from '../support/eventually';
import { FakeControlPlane, takeAll } from '../support/fake-control-plane';
import { TestFifo } from '../support/fifo';
import { startScript } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

const COUNT = 500;

/** Sends as OpenCrow does: one socket each, given up after 100 ms. Prints how many were lost. */
const SENDER = `
  const { sendDatagram } = require('$dist/examples/simulated-opencrow/lifecycle-emitter.js');
  const [path, count] = process.argv.slice(-2);
  process.stdout.write('sending\\n');
  (async () => {
    let lost = 0;
    for (let n = 1; n <= Number(count); n += 1) {
      const event = { version: 1, type: 'workload.lifecycle', event_id: 'opencrow:c:' + n + ':1:running', workload_id: 'wl-' + (n % 7),
        status: 'running', occurred_at: '2026-11-21T08:00:22Z', inbox_id: n, attempt: 1 };
      if (await sendDatagram(path, Buffer.from(JSON.stringify(event)), 100)) lost += 1;
    }
    process.stdout.write('lost ' + lost + '\\n');
  })();`;

test('500 datagrams with a 100 ms deadline, sent while the main thread is blocked, all reach the api in order', async () => {
  const folder = temporaryFolder();
  const lifecycleSocket = join(folder, 'lifecycle.sock');
  const api = new FakeControlPlane();
  api.answer = takeAll;
  await api.start();
  const executor = createOpenCrowExecutor({
    triggerPipe: new TestFifo().path,
    lifecycleSocket,
    spoolDir: join(folder, 'spool'),
    logger: pino({ level: 'silent' }),
  });
  await executor.start(api.client());
  const sender = startScript(SENDER, [lifecycleSocket, String(COUNT)]);
  await sender.output(/sending/);
  const until = Date.now() + 1_500;
  while (Date.now() < until); // the main thread does nothing else
  await sender.output(/lost 0/);
  await eventually(() => api.lifecycle().length === COUNT);
  const ids = api.lifecycle().map((record) => ('inbox_id' in record ? record.inbox_id : 0));
  expect(ids).toEqual(Array.from({ length: COUNT }, (_, n) => n + 1));
  await executor.stop(1_000);
  await api.stop();
});
