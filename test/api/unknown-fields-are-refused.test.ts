import { ROUTES } from '../../api/routes';
import { enrolWorker } from '../../ledger/enrol-worker';
import { startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
let worker: string;
let operator: string;
beforeAll(async () => {
  api = await startTestApi();
  operator = await api.newToken(['operator']);
  worker = (await enrolWorker(api.db, { workerId: 'w1', poolId: 'default', actor: 'test' })).plaintext.reveal();
});
afterAll(() => api.stop());

const writing = ROUTES.filter(({ body }) => body !== undefined && 'application/json' in body).map(
  (declared) => [`${declared.method} ${declared.path}`, declared] as const,
);

test('there are routes that write', () => expect(writing.length).toBeGreaterThan(10));

test.each(writing)(
  '%s refuses a field and a query parameter it does not know',
  async (_name, { method, path, access }) => {
    const url = path.replaceAll(/\{work(load)?_id\}/g, `wl_${'a'.repeat(32)}`).replace('{worker_id}', 'w1');
    const ask = {
      token: access.kind === 'worker' ? worker : operator,
      headers: { 'lease-token': 'x' },
      json: { surplus: 1 },
    };
    const field = await api.ask(method.toUpperCase(), url, ask);
    expect([field.status, field.body.code]).toEqual([400, 'request.unknown_field']);
    expect(field.body.errors).toContainEqual({ pointer: '/surplus', detail: 'is not known here' });
    const query = await api.ask(method.toUpperCase(), `${url}?surplus=1`, ask);
    expect([query.status, query.body.code]).toEqual([400, 'request.unknown_field']);
    expect(query.body.errors).toEqual([{ pointer: '/query/surplus', detail: 'is not known here' }]);
  },
);

test('a field of a nested object is named with its whole pointer', async () => {
  const answer = await api.ask('POST', '/api/policy/evaluate', {
    json: { event: { source: 'a', action: 'b', event_id: 'c', 'od/d~': 1 } },
  });
  expect(answer.body.errors).toEqual([{ pointer: '/event/od~1d~0', detail: 'is not known here' }]);
});
