import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { Problem } from '../../contracts/problems';
import { Secret } from '../../contracts/secret';
import { ControlPlaneClient, ControlPlaneUnavailable } from '../../executors/control-plane-client';
import { FakeControlPlane, claimAnswer, type Answer } from '../support/fake-control-plane';

const api = new FakeControlPlane();
beforeAll(() => api.start());
afterAll(() => api.stop());

async function claimError(answer: Answer): Promise<unknown> {
  api.answer = () => answer;
  return api
    .client({ timeoutMs: 300 })
    .claim({ work_id: 'wl_1' })
    .catch((error: unknown) => error);
}

test('a refusal with its problem document is a Problem, with where the workload stands and when to ask again', async () => {
  const error = await claimError({ problem: 'capacity.worker', retryAfter: 7, extra: { state: 'queued', wait_ms: 5 } });
  expect(error).toBeInstanceOf(Problem);
  expect(error).toMatchObject({
    code: 'capacity.worker',
    status: 429,
    retryAfterMs: 7_000,
    extra: { state: 'queued' },
  });
});

test.each<[string, Answer, number | null]>([
  ['a page of a proxy', { html: 404 }, 404],
  ['a broken connection', 'down', null],
  ['an error of the service itself', { problem: 'internal' }, 500],
  ['a ledger that is away', { problem: 'ledger.unavailable', retryAfter: 2 }, 503],
  ['a success that is no answer', { json: { hello: 'world' } }, 200],
])('%s is no decision: unavailable', async (_, answer, status) => {
  const error = await claimError(answer);
  expect(error).toBeInstanceOf(ControlPlaneUnavailable);
  expect(error).toMatchObject({ status });
});

test('an api that does not answer is given up at the deadline', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await new Promise((listening) => silent.once('listening', listening));
  const client = new ControlPlaneClient({
    baseUrl: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
    workerId: 'w1',
    credential: () => new Secret('c'),
    timeoutMs: 200,
  });
  await expect(client.self()).rejects.toMatchObject({ why: 'timeout', status: null });
  silent.closeAllConnections();
  await new Promise((closed) => silent.close(closed));
});

test('neither the credential nor a lease token can be printed, a broken one included', async () => {
  api.answer = () => claimAnswer();
  const claim = await api.client().claim({ work_id: 'wl_1' });
  expect(claim.lease.token.reveal()).toBe('lease-secret');
  const broken = new ControlPlaneClient({
    baseUrl: api.baseUrl,
    workerId: 'w1',
    credential: () => new Secret('top\nsecret'),
  });
  const error = (await broken.self().catch((caught: unknown) => caught)) as Error;
  expect(error).toBeInstanceOf(ControlPlaneUnavailable);
  const shown = [inspect(claim, { depth: 9 }), JSON.stringify(claim), inspect(error, { depth: 9 }), error.stack].join();
  expect(shown).not.toMatch(/lease-secret|top/);
  expect(shown).toContain('[redacted]');
});
