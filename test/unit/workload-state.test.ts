import fc from 'fast-check';
import {
  DECISIONS,
  GATES,
  LIFECYCLE_STATUSES,
  TERMINAL_STATUSES,
  type WorkloadState,
} from '../../contracts/terminology';
import type { Fact, WorkloadProgress, WorkloadTerms } from '../../domain/workload-progress';
import { transition } from '../../domain/workload-state';

const terms: WorkloadTerms = {
  deadlines: { queued: 1_000, start: 500, run: 800, resume: 300, total: 5_000, late: 2_000 },
  hold: { deadline: 400, then: 'deny' },
  redeliverOn: [],
  maxDeliveries: 1,
};

const accepted = (overrides: Partial<WorkloadTerms> = {}): WorkloadProgress => {
  const merged = { ...terms, ...overrides };
  return {
    state: 'accepted',
    delivery: 0,
    attempts: 0,
    maxDeliveries: merged.maxDeliveries,
    queuedUntil: null,
    totalAt: null,
    lateUntil: null,
    deadline: null,
    closed: false,
    mayStillRun: false,
    waitingFor: null,
    terms: merged,
  };
};

const dispatch: Fact = { type: 'admitted', decision: 'dispatch', reason: 'rule' };
const lifecycle = (status: (typeof LIFECYCLE_STATUSES)[number], delivery = 1): Fact => ({
  type: 'lifecycle',
  delivery,
  status,
});

/** Plays facts at given times; returns the last transition and all states passed through. */
function play(start: WorkloadProgress, steps: [number, Fact][]): { last: WorkloadProgress; path: WorkloadState[] } {
  let last = start;
  const path: WorkloadState[] = [];
  for (const [at, fact] of steps) {
    const step = transition(last, fact, at);
    last = step.next;
    path.push(...step.path);
  }
  return { last, path };
}

const EXECUTED = ['completed', 'failed', 'refused', 'lost'] as const;
const anyGate = fc.option(fc.constantFrom(...GATES));
const anyFact: fc.Arbitrary<Fact> = fc.oneof(
  fc
    .tuple(fc.constantFrom(...DECISIONS), anyGate)
    .map(([decision, gate]): Fact => ({ type: 'admitted', decision, reason: 'r', gate })),
  anyGate.map((next): Fact => ({ type: 'opened', next })),
  anyGate.map((gate): Fact => ({ type: 'redelivered', gate })),
  fc.constantFrom('superseded' as const, 'debounced' as const).map((how): Fact => ({ type: 'superseded', how })),
  fc.constantFrom<Fact>(
    { type: 'approved' },
    { type: 'approval_denied' },
    { type: 'intent' },
    { type: 'not_delivered' },
    { type: 'attempt_failed' },
    { type: 'undeliverable', reason: 'trigger_too_large' },
    { type: 'deadline' },
    { type: 'cancelled' },
    { type: 'redelivered' },
  ),
  fc
    .tuple(fc.integer({ min: 0, max: 4 }), fc.constantFrom(...LIFECYCLE_STATUSES))
    .map(([delivery, status]): Fact => ({ type: 'lifecycle', delivery, status })),
  fc
    .tuple(fc.integer({ min: 0, max: 4 }), fc.constantFrom(...EXECUTED))
    .map(([delivery, outcome]): Fact => ({ type: 'executed', delivery, outcome, reason: outcome })),
  fc.constant<Fact>({ type: 'lease_expired' }),
  fc.constantFrom(...TERMINAL_STATUSES).map((outcome): Fact => ({ type: 'resolved', outcome })),
);
const story = fc.array(fc.tuple(fc.integer({ min: 0, max: 900 }), anyFact), { maxLength: 40 });
const anyTerms = fc.record({
  redeliverOn: fc.subarray(['lost', 'failed', 'aborted', 'dropped'] as const),
  maxDeliveries: fc.integer({ min: 1, max: 3 }),
});

describe('any facts in any order', () => {
  const forEveryStep = (check: (before: WorkloadProgress, fact: Fact, now: number) => void): void => {
    fc.assert(
      fc.property(anyTerms, story, (overrides, steps) => {
        let progress = accepted(overrides);
        let now = 0;
        for (const [delay, fact] of steps) {
          now += delay;
          check(progress, fact, now);
          progress = transition(progress, fact, now).next;
        }
      }),
      { numRuns: 500 },
    );
  };

  test('a refused or recorded fact changes nothing', () => {
    forEveryStep((before, fact, now) => {
      const step = transition(before, fact, now);
      if (['conflict', 'recorded', 'double_execution', 'unknown_delivery', 'too_late'].includes(step.verdict)) {
        expect(step.next).toEqual(before);
        expect(step.path).toEqual([]);
      }
    });
  });

  test('a closed workload is only opened by an operator', () => {
    forEveryStep((before, fact, now) => {
      const { next } = transition(before, fact, now);
      if (before.closed && !next.closed) expect(fact.type).toBe('redelivered');
      if (before.closed && next.state !== before.state) {
        expect(['redelivered', 'resolved', 'lifecycle']).toContain(fact.type);
        if (fact.type !== 'redelivered') expect(before.state).toBe('lost');
      }
    });
  });

  test('a delivery number grows only by an intent and shrinks only by proven non-delivery', () => {
    forEveryStep((before, fact, now) => {
      const change = transition(before, fact, now).next.delivery - before.delivery;
      expect(change).toBe(
        fact.type === 'intent' && before.state === 'queued' && before.waitingFor === null
          ? 1
          : fact.type === 'not_delivered' && before.delivery > 0 && !['running', 'preempted'].includes(before.state)
            ? -1
            : 0,
      );
    });
  });

  test('a command is ended by its own delivery alone, and only while it is under way', () => {
    forEveryStep((before, fact, now) => {
      const { path, next } = transition(before, fact, now);
      if (fact.type === 'executed' && path.length > 0) {
        expect(fact.delivery).toBe(before.delivery);
        expect(['delivered', 'running', 'preempted']).toContain(before.state);
        expect(path[0]).toBe(fact.outcome);
        expect(next.state === 'queued').toBe(path.length > 1);
        if (path.length > 1) expect(before.terms.redeliverOn).toContain(fact.outcome);
      }
      if (fact.type === 'lease_expired' && path.length > 0) {
        expect(['delivered', 'running', 'preempted']).toContain(before.state);
        expect(path).toEqual(next.state === 'queued' ? ['lost', 'queued'] : ['lost']);
      }
    });
  });

  test('what may still run is said of cancelled workloads alone, until its end is reported', () => {
    forEveryStep((before, fact, now) => {
      const { next } = transition(before, fact, now);
      if (next.mayStillRun) expect(next.state).toBe('cancelled');
      if (before.mayStillRun && !next.mayStillRun) expect(['executed', 'redelivered']).toContain(fact.type);
    });
  });

  test('what waits for its turn is handed over only after each of its gates opened', () => {
    forEveryStep((before, fact, now) => {
      const { next, path } = transition(before, fact, now);
      if (before.waitingFor !== null)
        expect(['intent', 'attempt_failed', 'undeliverable']).not.toContain(path.length > 0 && fact.type);
      if (before.waitingFor !== null && next.state === 'queued' && next.waitingFor === null)
        expect(['opened', 'redelivered', 'admitted']).toContain(fact.type);
      if (next.waitingFor !== null) expect(['held', 'queued', 'accepted']).toContain(next.state);
    });
  });

  test('every open state has a deadline, so that nothing waits for ever', () => {
    forEveryStep((before, fact, now) => {
      const { next } = transition(before, fact, now);
      if (next.state !== 'accepted') expect(next.deadline === null).toBe(next.closed);
    });
  });

  test('a workload whose deadlines all fire comes to its end', () => {
    fc.assert(
      fc.property(anyTerms, story, (overrides, steps) => {
        let now = 0;
        let progress = transition(accepted(overrides), dispatch, now).next;
        for (const [delay, fact] of steps) {
          now += delay;
          progress = transition(progress, fact, now).next;
        }
        for (let fired = 0; !progress.closed && fired < 20; fired += 1) {
          now = progress.deadline!.at;
          progress = transition(progress, { type: 'deadline' }, now).next;
        }
        expect(progress.closed).toBe(true);
      }),
    );
  });

  test('preemption never outlives the total deadline', () => {
    const steps: [number, Fact][] = [
      [0, dispatch],
      [1, { type: 'intent' }],
    ];
    for (let at = 100; at <= 4_900; at += 200)
      steps.push([at, lifecycle('running')], [at + 100, lifecycle('preempted')]);
    const { last } = play(accepted(), steps);
    expect(last.deadline).toEqual({ kind: 'total', at: 5_000 });
    expect(transition(last, { type: 'deadline' }, 5_000).next.state).toBe('lost');
  });
});

describe('the way of one workload', () => {
  test.each(TERMINAL_STATUSES)('ends %s as the executor says', (status) => {
    const { path } = play(accepted(), [
      [0, dispatch],
      [1, { type: 'intent' }],
      [2, lifecycle('running')],
      [3, lifecycle(status)],
    ]);
    expect(path).toEqual(['queued', 'delivered', 'running', status]);
  });

  test('a missing running event does not matter', () => {
    expect(
      play(accepted(), [
        [0, dispatch],
        [1, { type: 'intent' }],
        [2, lifecycle('completed')],
      ]).last.state,
    ).toBe('completed');
  });

  test.each([
    [
      'start',
      [
        [0, dispatch],
        [1, { type: 'intent' }],
      ] as [number, Fact][],
      501,
    ],
    [
      'run',
      [
        [0, dispatch],
        [1, { type: 'intent' }],
        [2, lifecycle('running')],
      ] as [number, Fact][],
      802,
    ],
    [
      'resume',
      [
        [0, dispatch],
        [1, { type: 'intent' }],
        [2, lifecycle('running')],
        [3, lifecycle('preempted')],
      ] as [number, Fact][],
      303,
    ],
  ])('silence past the %s deadline is lost, never failed', (kind, steps, at) => {
    const { last } = play(accepted(), steps);
    expect(transition(last, { type: 'deadline' }, at - 1).verdict).toBe('recorded');
    expect(transition(last, { type: 'deadline' }, at)).toMatchObject({ reason: `${kind}_deadline`, path: ['lost'] });
  });

  test('no worker in time is refused, if there was no intent', () => {
    const { last } = play(accepted(), [
      [0, dispatch],
      [1_000, { type: 'deadline' }],
    ]);
    expect(last).toMatchObject({ state: 'refused', closed: true });
  });

  test('give-backs do not extend the queue deadline', () => {
    const { last } = play(accepted(), [
      [0, dispatch],
      [900, { type: 'intent' }],
      [950, { type: 'not_delivered' }],
    ]);
    expect(last).toMatchObject({ state: 'queued', delivery: 0, deadline: { kind: 'queued', at: 1_000 } });
  });

  test('three attempts that fail before intent make it dead', () => {
    const fail: Fact = { type: 'attempt_failed' };
    expect(
      play(accepted(), [
        [0, dispatch],
        [1, fail],
        [2, fail],
      ]).last.state,
    ).toBe('queued');
    expect(
      play(accepted(), [
        [0, dispatch],
        [1, fail],
        [2, fail],
        [3, fail],
      ]).last.state,
    ).toBe('dead');
  });

  test('hold waits for approval and is denied when nobody answers', () => {
    const hold: Fact = { type: 'admitted', decision: 'hold', reason: 'sensitive' };
    expect(
      play(accepted(), [
        [0, hold],
        [10, { type: 'approved' }],
      ]).last.state,
    ).toBe('queued');
    expect(
      play(accepted(), [
        [0, hold],
        [10, { type: 'approval_denied' }],
      ]).last.state,
    ).toBe('denied');
    expect(
      play(accepted(), [
        [0, hold],
        [400, { type: 'deadline' }],
      ]).last,
    ).toMatchObject({ state: 'denied', closed: true });
  });
});

describe('waiting for a turn', () => {
  const gated: Fact = { type: 'admitted', decision: 'dispatch', reason: 'rule', gate: 'key' };

  test('passes gate after gate, under the one queued deadline', () => {
    const { last } = play(accepted(), [
      [0, gated],
      [100, { type: 'opened', next: 'rate' }],
      [900, { type: 'opened', next: null }],
    ]);
    expect(last).toMatchObject({ state: 'queued', waitingFor: null, deadline: { kind: 'queued', at: 1_000 } });
    expect(transition(play(accepted(), [[0, gated]]).last, { type: 'deadline' }, 1_000).path).toEqual(['refused']);
  });

  test('begins after an approval', () => {
    const held: Fact = { ...gated, decision: 'hold' };
    const { last } = play(accepted(), [
      [0, held],
      [10, { type: 'opened', next: null }],
      [20, { type: 'approved' }],
    ]);
    expect(last).toMatchObject({ state: 'queued', waitingFor: 'key' });
  });

  test('ends with a newer one: before the intent it never runs, after it it may', () => {
    const superseded: Fact = { type: 'superseded', how: 'superseded' };
    const { last } = play(accepted(), [[0, gated]]);
    expect(transition(last, superseded, 1)).toMatchObject({ path: ['cancelled'], next: { mayStillRun: false } });
    const running = play(accepted(), [
      [0, dispatch],
      [1, { type: 'intent' }],
    ]).last;
    expect(transition(running, superseded, 2)).toMatchObject({ reason: 'superseded', next: { mayStillRun: true } });
  });
});

describe('the end of a command', () => {
  const under: [number, Fact][] = [
    [0, dispatch],
    [1, { type: 'intent' }],
    [2, lifecycle('running')],
  ];
  const executed = (outcome: (typeof EXECUTED)[number], delivery = 1): Fact => ({
    type: 'executed',
    delivery,
    outcome,
    reason: `command_${outcome}`,
  });

  test.each(EXECUTED)('is %s as its envelope says', (outcome) => {
    const { last } = play(accepted(), under);
    expect(transition(last, executed(outcome), 3)).toMatchObject({ path: [outcome], reason: `command_${outcome}` });
  });

  test('is not known when its worker is gone, and it runs again only by the rule', () => {
    const expired: Fact = { type: 'lease_expired' };
    expect(transition(play(accepted(), under).last, expired, 3)).toMatchObject({
      path: ['lost'],
      reason: 'lease_expired',
      next: { closed: false, deadline: { kind: 'late' } },
    });
    const rerunnable = accepted({ redeliverOn: ['lost'], maxDeliveries: 2 });
    expect(transition(play(rerunnable, under).last, expired, 3).path).toEqual(['lost', 'queued']);
  });

  test('that was refused is never tried again, whatever the rule redelivers', () => {
    const { last } = play(accepted({ redeliverOn: ['lost', 'failed'], maxDeliveries: 3 }), under);
    expect(transition(last, executed('refused'), 3)).toMatchObject({ path: ['refused'], next: { closed: true } });
  });

  test('that was refused after an earlier delivery may have run is lost, and not tried again', () => {
    const { last } = play(accepted({ redeliverOn: ['lost'], maxDeliveries: 3 }), under);
    const refused = { ...executed('refused'), ranBefore: true } as Fact;
    expect(transition(last, refused, 3)).toMatchObject({ path: ['lost'], reason: 'command_refused' });
  });

  test('is said of the delivery that is under way, and of no other', () => {
    const { last } = play(accepted(), under);
    for (const number of [0, 2]) expect(transition(last, executed('completed', number), 3).verdict).toBe('conflict');
  });

  test('of a cancelled one says that it runs no more, once', () => {
    const { last } = play(accepted(), [...under, [3, { type: 'cancelled' }]]);
    const over = transition(last, executed('failed'), 4);
    expect(over).toMatchObject({ path: [], next: { state: 'cancelled', mayStillRun: false } });
    expect(transition(over.next, executed('failed'), 5).verdict).toBe('conflict');
  });
});

describe('after silence', () => {
  const lost: [number, Fact][] = [
    [0, dispatch],
    [1, { type: 'intent' }],
    [501, { type: 'deadline' }],
  ];
  const redelivers = { redeliverOn: ['lost'] as const, maxDeliveries: 2 };

  test('a late end corrects a lost workload inside the late window only', () => {
    const { last } = play(accepted(), lost);
    expect(transition(last, lifecycle('completed'), 2_501)).toMatchObject({
      verdict: 'corrected',
      path: ['completed'],
    });
    expect(transition(last, lifecycle('completed'), 2_502)).toMatchObject({ verdict: 'too_late', path: [] });
  });

  test('a rule may redeliver what was lost, up to its deliveries', () => {
    const { path, last } = play(accepted(redelivers), [
      ...lost,
      [510, { type: 'intent' }],
      [1_010, { type: 'deadline' }],
    ]);
    expect(path).toEqual(['queued', 'delivered', 'lost', 'queued', 'delivered', 'lost']);
    expect(last).toMatchObject({ delivery: 2, closed: false, deadline: { kind: 'late' } });
  });

  test('a late event of delivery 1 withdraws delivery 2 before its intent', () => {
    const { last } = play(accepted(redelivers), lost);
    expect(last.state).toBe('queued');
    expect(transition(last, lifecycle('completed'), 600)).toMatchObject({ verdict: 'corrected', path: ['completed'] });
    expect(transition(last, lifecycle('running'), 600)).toMatchObject({ verdict: 'corrected', path: ['running'] });
  });

  test('a late event of delivery 1 after the intent of 2 is a double execution and changes nothing', () => {
    const { last } = play(accepted(redelivers), [...lost, [510, { type: 'intent' }]]);
    expect(transition(last, lifecycle('completed', 1), 600)).toMatchObject({ verdict: 'double_execution', next: last });
  });

  test('running after the end is a double execution', () => {
    const { last } = play(accepted(), [
      [0, dispatch],
      [1, { type: 'intent' }],
      [2, lifecycle('completed')],
    ]);
    expect(transition(last, lifecycle('running'), 3).verdict).toBe('double_execution');
  });

  test('cancel before intent never runs, after it may still run', () => {
    expect(
      play(accepted(), [
        [0, dispatch],
        [1, { type: 'cancelled' }],
      ]).last.mayStillRun,
    ).toBe(false);
    const after = play(accepted(), [
      [0, dispatch],
      [1, { type: 'intent' }],
      [2, { type: 'cancelled' }],
    ]).last;
    expect(after).toMatchObject({ state: 'cancelled', mayStillRun: true, closed: true });
    expect(transition(after, lifecycle('completed'), 3)).toMatchObject({ verdict: 'recorded', next: after });
  });

  test('an operator may redeliver what ended, and resolve what was lost', () => {
    const { last } = play(accepted(), lost);
    expect(transition(last, { type: 'resolved', outcome: 'completed' }, 600).next.state).toBe('completed');
    const again = transition(last, { type: 'redelivered' }, 600).next;
    expect(again).toMatchObject({ state: 'queued', maxDeliveries: 2, closed: false });
    expect(transition(again, { type: 'intent' }, 601).next.delivery).toBe(2);
  });
});
