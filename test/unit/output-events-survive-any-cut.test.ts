import fc from 'fast-check';
import { serverSentEvents, type ServerSentEvent } from '../../cli/via/server-sent-events';

async function* cut(bytes: Uint8Array, at: readonly number[]): AsyncGenerator<Uint8Array, void, void> {
  let from = 0;
  for (const to of [...at, bytes.length].sort((a, b) => a - b)) {
    yield bytes.subarray(from, Math.max(from, to));
    from = Math.max(from, to);
    await Promise.resolve();
  }
}

async function read(text: string, at: readonly number[]): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  const bytes = Buffer.from(text);
  for await (const event of serverSentEvents(
    cut(
      bytes,
      at.map((each) => each % (bytes.length + 1)),
    ),
  ))
    events.push(event);
  return events;
}

const event = fc.record({
  event: fc.constantFrom('stdout', 'stderr', 'end'),
  id: fc.constantFrom('', '1.2.3'),
  data: fc.record({ offset: fc.nat(), text: fc.string({ unit: 'binary' }) }).map((data) => JSON.stringify(data)),
});
const written = ({ event: name, id, data }: ServerSentEvent): string =>
  `event: ${name}\n${id === '' ? '' : `id: ${id}\n`}data: ${data}\n\n`;

test('events come out as they were written, wherever the connection cuts them, between comments', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event), fc.array(fc.nat(5000)), async (events, at) => {
      const text = ['retry: 1000\n\n', ...events.map(written)].join(': nothing new\n\n');
      expect(await read(text, at)).toEqual(events);
    }),
  );
});

test('an event that is cut off is none', async () => {
  expect(await read('event: stdout\ndata: {}\n\nevent: end\ndata: {', [])).toHaveLength(1);
});
