import pino from 'pino';
import { PipeWatch } from '../../executors/opencrow/pipe-watch';

test('a restart seen while another one is being reported is not forgotten', () => {
  const watch = new PipeWatch('/nonexistent/trigger.pipe', pino({ level: 'silent' }));
  expect(watch.restartSeen).toBe(false);
  watch.open();
  expect(watch.restartSeen).toBe(true);
  watch.noteReaderGone();
  watch.restartReported();
  expect(watch.restartSeen).toBe(true);
  watch.restartReported();
  expect(watch.restartSeen).toBe(false);
});
