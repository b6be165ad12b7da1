import type { SourceEvent } from '../../contracts/events';
import type { WorkloadState } from '../../contracts/terminology';
import { DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';

const POLICY = `
version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - { id: forbidden, when: 'event.action == "forbidden"', decision: deny, reason: not-allowed }
  - { id: sensitive, when: 'event.action == "sensitive"', decision: hold, hold: { deadline: 1h } }
  - { id: once, when: 'event.action == "once"', decision: dispatch, dedupe: { key: '"same"', window: 1h } }
  - { id: quick, when: 'event.action == "quick"', decision: dispatch, deadlines: { start: 1s, run: 1s } }
  - { id: nobody, when: 'event.action == "nobody"', decision: dispatch, deadlines: { queued: 1s }, to: { pool: empty } }
  - { id: work, when: 'event.action == "work"', decision: dispatch }
`;

let system: DrivenSystem;
beforeAll(async () => (system = await DrivenSystem.start(POLICY)));
afterAll(() => system.stop());

const delivered = (id: string): Promise<unknown> =>
  eventually(async () => expect((await system.row(id)).state).toBe('delivered'));

async function post(action: string, event: Partial<SourceEvent> = {}): Promise<string> {
  return (await system.post({ action, ...event })).workloadId;
}

/** What the Web UI shows of a workload: search attributes, summary and current details. */
async function shown(id: string): Promise<{ attributes: Record<string, unknown>; text: string }> {
  const handle = system.workflow(id);
  const { typedSearchAttributes, raw } = await handle.describe();
  const attributes = Object.fromEntries(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]));
  const metadata = await handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
  const config = raw.executionConfig?.userMetadata;
  const words = [config?.summary?.data, config?.details?.data].map((data) => Buffer.from(data ?? []).toString());
  return { attributes, text: [...words, metadata.currentDetails].join('\n') };
}

interface Story {
  end: WorkloadState;
  rule: string | null;
  reason: string;
  play: () => Promise<string>;
}

const worked = (status: 'completed' | 'failed' | 'aborted' | 'dropped'): Story => ({
  end: status,
  rule: 'work',
  reason: `executor_${status}`,
  play: async () => {
    const id = await post('work');
    await delivered(id);
    await system.report(id, 'running');
    await system.report(id, status);
    return id;
  },
});

const stories: Story[] = [
  worked('completed'),
  worked('failed'),
  worked('aborted'),
  worked('dropped'),
  { end: 'ignored', rule: null, reason: 'no-rule', play: () => post('unknown') },
  { end: 'denied', rule: 'forbidden', reason: 'not-allowed', play: () => post('forbidden') },
  {
    end: 'denied',
    rule: 'sensitive',
    reason: 'approval_denied',
    play: async () => {
      const id = await post('sensitive');
      await eventually(async () => expect((await system.row(id)).state).toBe('held'));
      await system.operate(id, { action: 'deny' });
      return id;
    },
  },
  {
    end: 'duplicate',
    rule: 'once',
    reason: 'dedupe_key_held',
    play: async () => {
      await delivered(await post('once'));
      return post('once');
    },
  },
  { end: 'refused', rule: 'nobody', reason: 'queue_deadline', play: () => post('nobody') },
  {
    end: 'cancelled',
    rule: 'work',
    reason: 'cancelled_after_intent',
    play: async () => {
      const id = await post('work');
      await delivered(id);
      await system.operate(id, { action: 'cancel' });
      return id;
    },
  },
  {
    end: 'lost',
    rule: 'quick',
    reason: 'start_deadline',
    play: async () => {
      const id = await post('quick');
      await eventually(async () => expect((await system.row(id)).state).toBe('lost'), { timeout: 20_000 });
      return id;
    },
  },
];

test.each(stories)('$end by $reason is described with source, action, rule, state and reason', async (story) => {
  const id = await story.play();
  await eventually(async () => {
    const { attributes, text } = await shown(id);
    expect(attributes).toMatchObject({
      WorkloadState: story.end,
      WorkloadTenant: 'default',
      WorkloadSource: 'rss',
    });
    if (story.rule !== null) expect(attributes['WorkloadRule']).toBe(story.rule);
    for (const word of ['rss', story.end, story.reason, story.rule ?? 'no rule']) expect(text).toContain(word);
    expect(text).toContain(attributes['WorkloadAction']);
  });
});

test('workloads are found by each search attribute', async () => {
  const find = (query: string): Promise<number> =>
    system.namespace.client.workflow.count(query).then(({ count }) => count);
  await eventually(async () => {
    expect(await find('WorkloadState = "denied"')).toBe(2);
    expect(await find('WorkloadRule = "once" AND WorkloadState = "duplicate"')).toBe(1);
    expect(await find('WorkloadTenant = "default" AND WorkloadSource = "rss" AND WorkloadAction = "nobody"')).toBe(1);
    expect(await find('WorkloadPool = "empty" AND WorkloadExecutor = "opencrow"')).toBe(1);
  });
});
