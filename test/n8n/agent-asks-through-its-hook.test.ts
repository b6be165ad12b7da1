import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { CapabilitiesRecord } from '../../contracts/capabilities';
import type { LogLine } from '../../examples/simulated-opencrow/simulated-opencrow';
import { authorize, isRefusal } from '../../n8n/shared/capabilities';
import { Cluster } from '../support/cluster';
import { eventually } from '../support/eventually';

const HOOK = path.resolve(__dirname, '../../examples/opencrow/context-hook');
const RULE =
  '{ id: triage, when: \'event.source == "rss"\', decision: dispatch, to: { pool: crows }, trigger: { include: [entry_id] }, ' +
  'capabilities: [{ hook: context-rss, operations: [show-entry], resources: [\'"entry:" + string(event.data.entry_id)\'], ' +
  'max_uses: 2, ttl: 10m }] }';
const show = (...args: string[]): string[] => [process.execPath, HOOK, 'context-rss', 'show-entry', ...args];

let cluster: Cluster;
let webhook: Server;
const calls: { token: string; body: Record<string, string> }[] = [];

/** A webhook that does what n8n's workflow `context-webhook` does: it authorizes before it answers. */
async function startWebhook(): Promise<string> {
  webhook = createServer((request, response) => {
    const answer = async (): Promise<{ status: number; body: unknown }> => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
      calls.push({ token, body });
      const asked = authorize({
        token,
        hook: 'context-rss',
        kind: 'context',
        operation: body['operation']!,
        resource: `entry:${body['entry_id']}`,
      });
      const said = await cluster.ask(asked.method, asked.path, asked.body);
      if (isRefusal({ ...said, headers: {} })) return { status: 403, body: said.body };
      expect(said.status).toBe(200);
      return { status: 200, body: { entry: `text of ${body['entry_id']}` } };
    };
    void answer().then(({ status, body }) => response.writeHead(status).end(JSON.stringify(body)));
  });
  await new Promise<void>((resolve) => webhook.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(webhook.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  process.env['CONTEXT_HOOK_URL'] = await startWebhook();
  const commands = [
    show('entry_id={entry_id}'),
    show('entry_id=1'),
    show('entry_id={entry_id}'),
    show('entry_id={entry_id}'),
    [process.execPath, HOOK, 'context-mail', 'show', 'id=1'],
  ];
  cluster = await Cluster.prepare({
    rules: [RULE],
    script: { default: { behaviour: 'complete', after_ms: 0, commands } },
  });
  await cluster.start('api', 'control', 'worker', 'crow');
}, 120_000);
afterAll(async () => {
  delete process.env['CONTEXT_HOOK_URL'];
  webhook.close();
  await cluster.close();
}, 60_000);

test('from event to agent to hook to service and back: what was granted is answered and counted, nothing else is', async () => {
  const posted = await cluster.post(
    { ends: ['completed'], deliveries: 1 },
    { source: 'rss', action: 'triage', event_id: 'e1419', data: { entry_id: 1419, title: 'not included' } },
  );
  await cluster.state(posted, 'completed');

  const log = await eventually(() => {
    const lines = cluster.crow.log().filter((line): line is LogLine & { type: 'command' } => line.type === 'command');
    return lines.length === 5 && lines;
  });
  expect(log.map((line) => line.exit_code)).toEqual([0, 3, 0, 3, 3]);
  expect(JSON.parse(log[0]!.stdout)).toEqual({ entry: 'text of 1419' });
  expect(log[1]!.stderr).toContain('"reason":"resource_not_granted"');
  expect(log[3]!.stderr).toContain('"reason":"exhausted"');
  // Not granted at all: the agent is told without a call.
  expect(log[4]!.stderr).toContain('is not granted context-mail; it is granted context-rss');
  expect(calls).toHaveLength(4);

  const record = await cluster.record(posted);
  const { deliveries } = (record as unknown as { capabilities: CapabilitiesRecord }).capabilities;
  expect(deliveries).toMatchObject([{ number: 1, refused: 2, grants: [{ uses: 2, remaining: 0 }] }]);

  const token = calls[0]!.token;
  expect(token).toMatch(/^owc_/);
  expect(log.map((line) => line.stdout + line.stderr).join()).not.toContain(token);
  expect(JSON.stringify(record)).not.toContain(token);
  const late = await cluster.ask('POST', '/api/capabilities/authorize', {
    token,
    hook: 'context-rss',
    operation: 'show-entry',
    resource: 'entry:1419',
  });
  expect(late).toMatchObject({ status: 403, body: { code: 'capability.denied', reason: 'closed' } });
}, 90_000);
