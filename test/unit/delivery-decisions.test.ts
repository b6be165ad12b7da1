import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { deliver } from '../../executors/opencrow/deliver';
import { LeaseFolder, type HeldLease } from '../../executors/opencrow/lease-folder';
import { PipeWatch } from '../../executors/opencrow/pipe-watch';
import { eventually } from '../support/eventually';
import { FakeControlPlane, claimAnswer, type Answer, type SeenRequest } from '../support/fake-control-plane';
import { TestFifo } from '../support/fifo';
import { temporaryFolder } from '../support/temporary-folder';

const logger = pino({ level: 'silent' });
const INTENT: Answer = {
  json: { delivery_number: 1, delivery_id: 'wl_1', expires_at: '2030-01-01T00:00:00Z', ttl_ms: 60_000 },
};
const OUTCOME: Answer = { json: { state: 'delivered', wait_ms: 1_000 } };

class Stage {
  readonly api = new FakeControlPlane();
  readonly fifo = new TestFifo();
  readonly slotFreed = new AbortController();
  readonly cancel = new AbortController();
  readonly drain = new AbortController();
  readonly later: HeldLease[] = [];
  readonly heartbeats: (string | null)[] = [];
  readonly leaseDir = join(temporaryFolder(), 'leases');
  readonly pipe = new PipeWatch(this.fifo.path, logger);
  readonly leases = new LeaseFolder(this.leaseDir);

  /** Answers by route; a list is worked off, its last answer stays. */
  script(answers: Record<string, Answer | Answer[] | ((request: SeenRequest) => Answer)>): void {
    this.api.answer = (request) => {
      const answer = answers[request.route] ?? { claims: claimAnswer(), intent: INTENT }[request.route] ?? OUTCOME;
      if (typeof answer === 'function') return answer(request);
      if (!Array.isArray(answer)) return answer;
      return (answer.length > 1 ? answer.shift() : answer[0]) as Answer;
    };
  }

  async deliver() {
    await this.leases.prepare();
    return deliver(
      { workId: 'wl_1' },
      {
        control: this.api.client({ timeoutMs: 2_000 }),
        heartbeat: (waitingFor) => this.heartbeats.push(waitingFor),
        cancelSignal: this.cancel.signal,
        drainSignal: this.drain.signal,
        logger,
      },
      {
        pipe: this.pipe,
        leases: this.leases,
        reportLater: (held) => this.later.push(held),
        slotFreed: () => this.slotFreed.signal,
      },
    );
  }

  /** Bodies of the requests to one route. */
  bodies(route: string): Record<string, unknown>[] {
    return this.api.seen.filter((request) => request.route === route).map((request) => request.body);
  }

  leaseFiles(): string[] {
    return readdirSync(this.leaseDir);
  }
}

let stage: Stage;
beforeEach(async () => {
  stage = new Stage();
  await stage.api.start();
  stage.script({});
});
afterEach(async () => {
  stage.fifo.closeReader();
  await stage.api.stop();
});

test('claim, intent, one write, report; the token goes with each lease request and the lease file is gone', async () => {
  stage.fifo.openReader();
  expect(await stage.deliver()).toEqual({ outcome: 'delivered', state: 'delivered', waitMs: 1_000 });
  expect(stage.api.routes()).toEqual(['claims', 'intent', 'complete']);
  expect(stage.bodies('complete')).toEqual([{ write: 'written' }]);
  expect(stage.api.seen.map((request) => request.leaseToken)).toEqual([undefined, 'lease-secret', 'lease-secret']);
  expect(stage.fifo.read()).toBe(
    '\nworkload.v1 {"workload_id":"wl_1","event_id":"rss:1","source":"rss","action":"triage","prompt":"Triage","data":{"entry_id":7}}\n',
  );
  expect(stage.leaseFiles()).toEqual([]);
});

test('without a reader nothing is claimed; when OpenCrow is back the claim says so', async () => {
  const delivery = stage.deliver();
  await eventually(() => stage.pipe.reason === 'ENXIO');
  expect(stage.api.routes()).toEqual([]);
  stage.fifo.openReader();
  expect(await delivery).toMatchObject({ outcome: 'delivered' });
  expect(stage.bodies('claims')).toEqual([
    { work_id: 'wl_1', claim_key: expect.any(String), executor_restarted: true },
  ]);
  expect(stage.pipe.restartSeen).toBe(false);
});

test('capacity is waited for as long as Retry-After says, then claimed again', async () => {
  stage.fifo.openReader();
  stage.script({ claims: [{ problem: 'capacity.worker', retryAfter: 1 }, claimAnswer()] });
  const started = Date.now();
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' });
  expect(Date.now() - started).toBeGreaterThanOrEqual(990);
});

test('an end that was reported ends the wait for capacity at once', async () => {
  stage.fifo.openReader();
  stage.script({ claims: [{ problem: 'capacity.worker', retryAfter: 3_600 }, claimAnswer()] });
  const delivery = stage.deliver();
  await eventually(() => stage.heartbeats.includes('capacity.worker'));
  stage.slotFreed.abort();
  expect(await delivery).toMatchObject({ outcome: 'delivered' });
});

test('it heartbeats while it waits, and says for what', async () => {
  stage.fifo.openReader();
  stage.script({ claims: { problem: 'capacity.suspect', retryAfter: 60 } });
  const delivery = stage.deliver();
  await eventually(() => stage.heartbeats.includes('capacity.suspect'));
  stage.cancel.abort();
  expect(await delivery).toEqual({ outcome: 'cancelled' });
});

test.each([
  ['worker.draining', { outcome: 'hand_back', stopPolling: true }],
  ['worker.revoked', { outcome: 'hand_back', stopPolling: true }],
  ['worker.incompatible', { outcome: 'hand_back', stopPolling: false }],
  ['workload.not_needed', { outcome: 'not_needed' }],
  ['delivery.maybe_written', { outcome: 'not_needed' }],
  ['not_found', { outcome: 'not_needed' }],
] as const)('a claim refused with %s ends without a write', async (problem, outcome) => {
  stage.fifo.openReader();
  stage.script({ claims: { problem } });
  expect(await stage.deliver()).toMatchObject(outcome);
  expect(stage.fifo.read()).toBe('');
});

test("a proxy's 404 decides nothing: it is waited for like an api that is down", async () => {
  stage.fifo.openReader();
  stage.script({ claims: [{ html: 404 }, 'down', { problem: 'ledger.unavailable' }, claimAnswer()] });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' });
  expect(stage.bodies('claims')).toHaveLength(4);
});

test('a line that is too long is refused with its size, before any intent', async () => {
  stage.fifo.openReader();
  stage.script({ claims: claimAnswer({ trigger: { prompt: 'x'.repeat(5_000), include: [], response_policy: null } }) });
  expect(await stage.deliver()).toMatchObject({ outcome: 'refused' });
  expect(stage.api.routes()).toEqual(['claims', 'fail']);
  expect(stage.bodies('fail')[0]).toMatchObject({
    code: 'trigger.line_too_long',
    detail: expect.stringMatching(/has 5\d{3} bytes, the limit is 4094/) as string,
    retryable: false,
  });
  expect(stage.fifo.read()).toBe('');
});

test('an intent whose answer is lost is asked for with the same key, and written once', async () => {
  stage.fifo.openReader();
  stage.script({ intent: ['down', { problem: 'ledger.unavailable', retryAfter: 0 }, INTENT] });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' });
  const keys = stage.bodies('intent').map((body) => body['intent_key']);
  expect(keys).toHaveLength(3);
  expect(new Set(keys).size).toBe(1);
  expect(stage.fifo.read().match(/workload\.v1/g)).toHaveLength(1);
});

test('a lease that ran out before the intent is claimed again; a cancelled workload is not', async () => {
  stage.fifo.openReader();
  const cancelled: Answer = { problem: 'workload.not_needed', extra: { state: 'cancelled', wait_ms: null } };
  stage.script({ intent: [{ problem: 'lease.stale' }, cancelled] });
  expect(await stage.deliver()).toEqual({ outcome: 'not_needed', state: 'cancelled', waitMs: null });
  expect(stage.bodies('claims')).toHaveLength(2);
  expect(stage.fifo.read()).toBe('');
  expect(stage.leaseFiles()).toEqual([]);
});

test('cancelled with an unanswered intent: nothing is written and the delivery is given back', async () => {
  stage.fifo.openReader();
  stage.script({
    intent: () => {
      stage.cancel.abort();
      return 'down';
    },
  });
  expect(await stage.deliver()).toEqual({ outcome: 'cancelled' });
  expect(stage.bodies('release')).toEqual([{ reason: 'cancelled' }]);
  expect(stage.fifo.read()).toBe('');
});

test('draining: an unclaimed task is handed back, a claimed one released, a written one reported', async () => {
  stage.fifo.openReader();
  stage.script({
    claims: () => {
      stage.drain.abort();
      return claimAnswer();
    },
  });
  const handedBack = { outcome: 'hand_back', reason: 'draining', retryAfterMs: 0, stopPolling: true };
  expect(await stage.deliver()).toEqual(handedBack);
  expect(stage.bodies('release')).toEqual([{ reason: 'draining' }]);
  expect(await stage.deliver()).toEqual(handedBack);
  expect(stage.bodies('claims')).toHaveLength(1);
  expect(stage.fifo.read()).toBe('');
});

test('draining after the intent finishes the write and its report', async () => {
  stage.fifo.openReader();
  stage.script({
    intent: () => {
      stage.drain.abort();
      return INTENT;
    },
    complete: ['down', 'down', OUTCOME],
  });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered', state: 'delivered' });
  expect(stage.bodies('complete')).toHaveLength(3);
});

test('OpenCrow gone between intent and write is a proven non-delivery: released, and delivered when it is back', async () => {
  stage.fifo.openReader();
  let intents = 0;
  stage.script({
    intent: () => {
      intents += 1;
      if (intents === 1) stage.fifo.closeReader();
      return INTENT;
    },
    release: () => {
      stage.fifo.openReader();
      return { json: { state: 'queued', wait_ms: null } };
    },
  });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' });
  expect(stage.bodies('release')).toEqual([{ reason: 'EPIPE' }]);
  const [first, second] = stage.bodies('claims');
  expect(second).toEqual({ work_id: 'wl_1', claim_key: first!['claim_key'], executor_restarted: true });
  expect(new Set(stage.bodies('intent').map((body) => body['intent_key'])).size).toBe(2);
  expect(stage.fifo.read().match(/workload\.v1/g)).toHaveLength(1);
});

test('a report is repeated until the api takes it, and never makes a second write', async () => {
  stage.fifo.openReader();
  stage.script({ complete: ['down', { problem: 'internal' }, { html: 502 }, OUTCOME] });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' });
  expect(stage.bodies('complete')).toHaveLength(4);
  expect(stage.fifo.read().match(/workload\.v1/g)).toHaveLength(1);
});

test('a report refused because of the worker goes on in the background, its lease file stays', async () => {
  stage.fifo.openReader();
  stage.script({ complete: { problem: 'worker.revoked' } });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered', state: null });
  expect(stage.later).toMatchObject([{ phase: 'written', deliveryId: 'wl_1' }]);
  expect(stage.leaseFiles()).toEqual(['wl_1.1.json']);
});

test('a report that comes too late ends the delivery', async () => {
  stage.fifo.openReader();
  stage.script({ complete: { problem: 'lease.stale' } });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered', state: null });
  expect(stage.leaseFiles()).toEqual([]);
});

test('a process that was frozen after its intent does not write when it goes on: the delivery may have been given up', async () => {
  stage.fifo.openReader();
  const realNow = Date.now.bind(Date);
  let intents = 0;
  stage.script({
    intent: () => {
      intents += 1;
      if (intents === 1) jest.spyOn(Date, 'now').mockImplementation(() => realNow() + 60_000);
      return INTENT;
    },
  });
  expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' });
  jest.restoreAllMocks();
  expect(stage.bodies('release')).toEqual([{ reason: 'stalled_after_intent' }]);
  expect(stage.fifo.read().match(/workload\.v1/g)).toHaveLength(1);
});
