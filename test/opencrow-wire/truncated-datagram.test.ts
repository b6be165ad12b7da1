import { join } from 'node:path';
import pino from 'pino';
import { sendDatagram } from '../../examples/simulated-opencrow/lifecycle-emitter';
import { createOpenCrowExecutor } from '../../executors/opencrow/index';
import { openTriggerPipe } from '../../executors/opencrow/trigger-pipe';
import { eventually } from '../support/eventually';
import { FakeControlPlane, takeAll } from '../support/fake-control-plane';
import { TestFifo } from '../support/fifo';
import { startOpenCrow } from '../support/simulated-opencrow';
import { temporaryFolder } from '../support/temporary-folder';

test('a failure text of 150,000 bytes still ends the workload: the cut datagram is identified by its head', async () => {
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
  const event = {
    version: 1,
    type: 'workload.lifecycle',
    event_id: 'opencrow:c:1:1:failed',
    workload_id: 'wl-1',
    status: 'failed',
    occurred_at: '2026-11-21T08:00:22Z',
    inbox_id: 1,
    attempt: 1,
    details: { error: 'e'.repeat(150_000), error_kind: 'pi' },
  };
  expect(await sendDatagram(lifecycleSocket, Buffer.from(JSON.stringify(event)), 1_000)).toBeNull();
  expect(await sendDatagram(lifecycleSocket, Buffer.from('noise'), 1_000)).toBeNull();
  await eventually(() => api.lifecycle().length === 2);
  expect(api.lifecycle()).toMatchObject([
    { event_id: event.event_id, delivery_id: 'wl-1', status: 'failed', truncated: true, error: 'e'.repeat(2_000) },
    { unreadable: true, why: 'not_json', bytes: 5 },
  ]);
  await executor.stop(1_000);
  await api.stop();
});

test('the simulated OpenCrow sends such a text, and loses one that the kernel refuses', async () => {
  const folder = temporaryFolder();
  const rules = [
    { match: { event_id: 'big' }, behaviour: 'fail', error_bytes: 150_000 },
    { match: { event_id: 'too-big' }, behaviour: 'fail', error_bytes: 300_000 },
  ];
  const lifecycleSocket = join(folder, 'l.sock');
  const api = new FakeControlPlane();
  api.answer = takeAll;
  await api.start();
  const crow = await startOpenCrow({ sessionDir: join(folder, 's'), lifecycleSocket, script: { rules } });
  const executor = createOpenCrowExecutor({
    triggerPipe: crow.triggerPipe,
    lifecycleSocket,
    spoolDir: join(folder, 'spool'),
    logger: pino({ level: 'silent' }),
  });
  await executor.start(api.client());
  for (const event_id of ['big', 'too-big']) {
    const opening = openTriggerPipe(crow.triggerPipe);
    if (!opening.ok) throw new Error(opening.reason);
    opening.pipe.write(
      `workload.v1 {"workload_id":"wl-${event_id}","event_id":"${event_id}","source":"s","action":"a"}`,
    );
    opening.pipe.close();
  }
  await eventually(() => crow.log().filter((line) => line.type === 'emitted').length === 4);
  await eventually(() => api.lifecycle().length === 3);
  const statuses = api
    .lifecycle()
    .map((record) => ('status' in record ? `${record.delivery_id} ${record.status}` : ''));
  expect(statuses).toEqual(['wl-big running', 'wl-big failed', 'wl-too-big running']);
  expect(crow.log().at(-1)).toMatchObject({
    type: 'emitted',
    status: 'failed',
    lost: expect.stringMatching(/too long/i) as string,
  });
  await executor.stop(1_000);
  await api.stop();
});
