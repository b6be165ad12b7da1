import { startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => (api = await startTestApi()));
afterAll(() => api.stop());

test('after hundreds of failed logins from one address its wrong bearers wait, and a good token passes', async () => {
  const wrong = (n: number): string => `owt_${String(n).padStart(16, '0')}_${'a'.repeat(43)}`;
  const statuses: number[] = [];
  for (let done = 0; done < 320; done += 20) {
    const answers = Array.from({ length: 20 }, (_, n) => api.ask('GET', '/api/whoami', { token: wrong(done + n) }));
    statuses.push(...(await Promise.all(answers)).map((answer) => answer.status));
  }
  expect([...new Set(statuses)].sort()).toEqual([401, 429]);
  for (let n = 0; n < 3; n += 1) expect((await api.ask('GET', '/api/whoami')).status).toBe(200);
});
