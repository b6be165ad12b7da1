import fc from 'fast-check';
import { sourceEvent } from '../../../contracts/events';
import { RequestError } from '../../../n8n/shared/api-request';
import { batchResults, eventOf, MAX_BATCH_EVENTS, postBatches, postEvent } from '../../../n8n/shared/events';

const event = (id: number, data: object = {}): Record<string, unknown> =>
  eventOf({ source: 'rss', action: 'triage', eventId: id, data });

test('what n8n hands over becomes an event that the service takes', () => {
  const built = eventOf({
    source: 'rss',
    action: 'triage',
    eventId: 1419,
    subject: '',
    occurredAt: 'Sat, 21 Nov 2026 08:00:00 GMT',
    data: '{"category":"Security"}',
    callbackUrl: null,
  });
  expect(built).toEqual({
    source: 'rss',
    action: 'triage',
    event_id: '1419',
    occurred_at: '2026-11-21T08:00:00.000Z',
    data: { category: 'Security' },
  });
  expect(sourceEvent.parse(built).event_id).toBe('1419');
});

test('a time that the service understands stays as it is, so that a repeat is the same event', () => {
  const occurredAt = '2026-11-21T09:00:00.5+01:00';
  expect(eventOf({ source: 's', action: 'a', eventId: 'e', occurredAt })).toMatchObject({ occurred_at: occurredAt });
});

test.each([
  ['a blank event id', { eventId: ' ' }, 'Event ID is empty'],
  ['a missing event id', { eventId: undefined }, 'Event ID is empty'],
  ['an object as an id', { eventId: { id: 1 } }, 'given an object'],
  ['data that is no object', { data: '[1]' }, 'Data is no JSON object'],
  ['data that is no JSON', { data: '{' }, 'Data is not valid JSON'],
  ['a time that is none', { occurredAt: 'soon' }, 'Occurred At is no date'],
])('%s is refused before anything is sent', (_what, fields, message) => {
  const build = (): unknown => eventOf({ source: 's', action: 'a', eventId: 'e', ...fields });
  expect(build).toThrow(RequestError);
  expect(build).toThrow(message);
});

test('waiting for the decision is asked for by a header, at most as long as the service waits', () => {
  expect(postEvent(event(1)).headers).toBeUndefined();
  expect(postEvent(event(1), 90).headers).toEqual({ Prefer: 'wait=20' });
});

test('batches keep every event, in order and within the limits, and only the last one moves the cursor', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 1, maxLength: 260 });
  fc.assert(
    fc.property(sizes, (texts) => {
      const events = texts.map((size, index) => event(index, { text: 'x'.repeat(size) }));
      const batches = postBatches(events, { key: 'cursor', ifMatch: '"3"', value: '{"seen":7}' });
      const bodies = batches.map(({ request }) => request.body as { events: unknown[]; state?: unknown });
      expect(bodies.flatMap((body) => body.events)).toEqual(events);
      for (const [index, body] of bodies.entries()) {
        expect(body.events.length).toBeLessThanOrEqual(MAX_BATCH_EVENTS);
        expect(batches[index]!.events).toBe(body.events.length);
        if (body.events.length > 1) expect(JSON.stringify(body).length).toBeLessThan(256 * 1024);
        const last = index === bodies.length - 1;
        expect(body.state).toEqual(
          last ? { source: 'rss', key: 'cursor', if_match: '"3"', value: { seen: 7 } } : undefined,
        );
      }
    }),
    { numRuns: 30 },
  );
});

test.each([[null], [undefined], ['']])(
  'a state that was not there when it was read (%p) must not be there',
  (ifMatch) => {
    const [batch] = postBatches([event(1)], { source: 'feeds', key: 'c', ifMatch, value: 1 });
    expect(batch!.request.body).toMatchObject({ state: { source: 'feeds', if_match: null } });
  },
);

test('results that do not fit the events are not guessed', () => {
  expect(batchResults({ results: [{ status: 202 }] }, 1)).toEqual([{ status: 202 }]);
  expect(() => batchResults({ results: [] }, 1)).toThrow('another number of results');
  expect(() => batchResults('<html>', 1)).toThrow('another number of results');
});
