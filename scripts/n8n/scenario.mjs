// What must come about between n8n, the service, OpenCrow and the agent. Each step fails with what it saw.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { eventually } from './eventually.mjs';

const LONG = 120_000;
const FORGED = `owc_${'0'.repeat(16)}_${'A'.repeat(43)}`;
/** As it stands in the workflow file, to be replaced by whoever uses it. */
const GITHUB_SECRET = 'replace-this-secret';

/** Ids of the workflows, as their files have them. */
export const WORKFLOWS = {
  rss: 'ocwRss0000000001',
  github: 'ocwGithub0000001',
  mail: 'ocwMail000000001',
  schedule: 'ocwSchedule00001',
  context: 'ocwContext000001',
  mutation: 'ocwMutation00001',
  callback: 'ocwCallback00001',
  missed: 'ocwMissedEvents1',
  every: 'ocwEveryOp000001',
  lifecycle: 'ocwLifecycle0001',
};

/** The steps, in order: what they show, and how. `run` is {n8n, service, crow, world}. */
export const STEPS = [
  ['the credential test asks the service who it is', credentialTest],
  ['the workflows are published', publish],
  ['a feed becomes workloads, and its cursor moves with them', feed],
  ['the agent reads its entry through the context webhook, and only that', contextHook],
  ['the agent makes one task through the mutation webhook', mutationHook],
  ['the ledger has counted every use; n8n has kept no token', uses],
  ['the same page again changes nothing; a new entry is taken', feedAgain],
  ['GitHub is believed when it signs, and told of repeats', github],
  ['a workflow that waits is woken by the callback and reads the ledger', callback],
  ['every other operation of the node does what it says', everyOperation],
  ['what could not be posted is posted again when the service is back', outage],
  ['the trigger node subscribes itself, and takes signed calls only', trigger],
  ['a trigger that is not published any more has no subscription', unpublish],
];

const byName = (execution, node) => execution.data.resultData.runData[node];

async function credentialTest({ n8n, world, service }) {
  const id = 'ocwOperator00001';
  const data = { baseUrl: `${world.url}/workloadd`, apiToken: service.token };
  const test = (apiToken) =>
    n8n.rest('POST', '/rest/credentials/test', {
      credentials: { id, name: 'c', type: 'opencrowWorkloaddApi', data: { ...data, apiToken } },
    });
  assert.equal((await test(service.token)).data.status, 'OK');
  assert.equal((await test('owt_wrong')).data.status, 'Error');
}

async function publish({ n8n }) {
  // Mail needs a server; the feed and the trigger have steps of their own.
  for (const [name, id] of Object.entries(WORKFLOWS)) {
    if (!['mail', 'rss', 'lifecycle'].includes(name)) await n8n.publish(id);
  }
}

const workloads = async (service, source) =>
  (await service.ask('GET', `/api/workloads?source=${source}`)).body.workloads;

async function feed({ n8n, service, world }) {
  world.entries.push(
    { id: '1419', title: 'One <entry>', at: '2026-01-02T10:00:00Z' },
    { id: '1420', title: 'Another', at: '2026-01-02T11:00:00Z' },
  );
  await n8n.publish(WORKFLOWS.rss);
  await eventually('both entries are completed workloads', LONG, async () => {
    const found = await workloads(service, 'rss');
    return found.length === 2 && found.every(({ state }) => state === 'completed');
  });
  const { body } = await service.ask('GET', '/api/sources/rss/state/example-feed');
  assert.deepEqual(body.value, { newest: '2026-01-02T11:00:00.000Z' });
}

const commandsOf = (crow, kind) => crow.log().filter((line) => line.type === 'command' && kind(line));

async function contextHook({ n8n, crow }) {
  const read = commandsOf(crow, ({ exit_code, stdout }) => exit_code === 0 && stdout.includes('"entry"'));
  assert.deepEqual(read.map(({ stdout }) => JSON.parse(stdout).entry.title).sort(), ['Another', 'One <entry>']);
  const denied = commandsOf(crow, ({ stderr }) => stderr.includes('resource_not_granted'));
  assert.equal(denied.length, 2);
  const ask = (body, token) =>
    n8n.webhook('context-rss', body, token === undefined ? {} : { authorization: `Bearer ${token}` });
  const entry = { operation: 'show-entry', entry_id: '1419' };
  assert.deepEqual(await ask(entry, FORGED), { status: 403, body: { error: 'denied', reason: 'unknown' } });
  assert.equal((await ask(entry)).status, 403);
  assert.equal((await ask({ ...entry, operation: 'not a name' }, FORGED)).status, 400);
}

async function mutationHook({ n8n, crow, world }) {
  const made = commandsOf(crow, ({ exit_code, stdout }) => exit_code === 0 && stdout.includes('"task"'));
  assert.equal(made.length, 2);
  assert.deepEqual(world.tasks.map(({ project, title }) => `${project}: ${title}`).sort(), [
    'triage: Entry 1419',
    'triage: Entry 1420',
  ]);
  const body = { operation: 'create-task', project: 'triage', title: 'forged' };
  const authorization = { authorization: `Bearer ${FORGED}` };
  assert.equal((await n8n.webhook('mutation-task-create', body, authorization)).status, 400);
  const keyed = { ...body, idempotency_key: 'k' };
  assert.equal((await n8n.webhook('mutation-task-create', keyed, authorization)).status, 403);
  assert.equal(world.tasks.length, 2);
}

async function uses({ n8n, service, crow }) {
  for (const { workload_id: id } of await workloads(service, 'rss')) {
    const { body } = await service.ask('GET', `/api/workloads/${id}`);
    const [delivery] = body.capabilities.deliveries;
    assert.equal(delivery.state, 'closed');
    assert.equal(delivery.refused, 1);
    assert.deepEqual(
      delivery.grants.map((grant) => [grant.uses, grant.remaining]),
      [
        [1, 1],
        [1, 0],
      ],
    );
  }
  assert.equal((await n8n.executions(WORKFLOWS.context)).length, 0);
  assert.equal((await n8n.executions(WORKFLOWS.mutation)).length, 0);
  const line = crow.log().find(({ type, line }) => type === 'received' && line.includes('capability_token')).line;
  const { capability_token: token } = JSON.parse(line.slice(line.indexOf('{')));
  const late = { operation: 'show-entry', entry_id: '1419' };
  const answer = await n8n.webhook('context-rss', late, { authorization: `Bearer ${token}` });
  assert.deepEqual(answer, { status: 403, body: { error: 'denied', reason: 'closed' } });
}

async function feedAgain({ n8n, service, world }) {
  const before = (await n8n.executions(WORKFLOWS.rss)).length;
  await eventually('the feed is read again', LONG, async () => (await n8n.executions(WORKFLOWS.rss)).length > before);
  assert.equal((await workloads(service, 'rss')).length, 2);
  world.entries.push({ id: '1421', title: 'Late', at: '2026-01-02T12:00:00Z' });
  await eventually('the new entry is a workload', LONG, async () => (await workloads(service, 'rss')).length === 3);
  await n8n.publish(WORKFLOWS.rss, false);
}

const issue = (title) => ({
  action: 'opened',
  issue: { number: 12, title, labels: [{ name: 'bug' }] },
  repository: { full_name: 'acme/api' },
  sender: { login: 'octo' },
});

function fromGithub(n8n, delivery, body, secret = GITHUB_SECRET) {
  const text = JSON.stringify(body);
  return n8n.webhook('github-events', text, {
    'x-github-event': 'issues',
    'x-github-delivery': delivery,
    'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(text).digest('hex')}`,
  });
}

async function github({ n8n, service }) {
  assert.equal((await fromGithub(n8n, 'd-0', issue('x'), 'not the secret')).status, 401);
  const first = await fromGithub(n8n, 'd-1', issue('Login fails'));
  assert.equal(first.status, 202, JSON.stringify(first));
  assert.equal(first.body.duplicate, false);
  assert.deepEqual((await fromGithub(n8n, 'd-1', issue('Login fails'))).body, { ...first.body, duplicate: true });
  const { body } = await service.ask('GET', `/api/workloads/${first.body.workload_id}`);
  assert.equal(body.subject, 'acme/api#12');
  assert.equal(body.action, 'issues.opened');
}

async function callback({ n8n }) {
  await n8n.webhook('review-wanted', { id: 'review-1', document: 'handbook' });
  const execution = await eventually('the execution that slept has ended well', LONG, async () =>
    (await n8n.executions(WORKFLOWS.callback)).find(({ status }) => status === 'success'),
  );
  const [woken] = byName(execution, 'Sleep Until It Ended');
  assert.equal(woken.data.main[0][0].json.body.type, 'workload.completed');
  assert.ok(byName(execution, 'Go On'), 'it went on where the workload has completed');
}

async function everyOperation({ n8n, service }) {
  const hold = async (id) =>
    (await service.ask('POST', '/api/events', { source: 'hold', action: 'ask', event_id: id })).body.workload_id;
  const [approve, deny] = [await hold('h-1'), await hold('h-2')];
  await eventually('both are held', LONG, async () =>
    (await workloads(service, 'hold')).every(({ state }) => state === 'held'),
  );
  const { status, body } = await n8n.webhook('every-operation', { approve, deny });
  assert.equal(status, 200, JSON.stringify(body));
  const { missing, explained, ...rest } = body;
  assert.deepEqual([missing.exists, missing.etag, missing.value], [false, null, { n: 0 }]);
  assert.match(JSON.stringify(explained), /"rule_id":"held"/);
  assert.match(rest.late, /^state\.precondition_failed: /);
  assert.match(rest.cancelled, /^workload\.state_conflict: /);
  assert.deepEqual(
    { ...rest, late: 0, cancelled: 0 },
    {
      next: { n: 2 },
      late: 0,
      deleted: true,
      denied: 'denied',
      approved: 'completed',
      cancelled: 0,
      replayed: deny,
      replay: 'held',
      decided: 'ignore',
      many: 2,
    },
  );
}

async function trigger({ n8n, service }) {
  await n8n.publish(WORKFLOWS.lifecycle);
  const { subscriptions } = (await service.ask('GET', '/api/subscriptions')).body;
  assert.equal(subscriptions.length, 1);
  assert.equal(new URL(subscriptions[0].url).origin, n8n.url);
  const posted = await fromGithub(n8n, 'd-2', issue('make it fail'));
  const execution = await eventually('the trigger has started its workflow', LONG, async () =>
    (await n8n.executions(WORKFLOWS.lifecycle)).find(({ status }) => status === 'success'),
  );
  const [told] = byName(execution, 'Tell a Person');
  assert.equal(told.data.main[0][0].json.workload_id, posted.body.workload_id);
  assert.match(told.data.main[0][0].json.text, /^github d-2 is failed: /);
  const forged = await fetch(subscriptions[0].url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
      'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}`,
    },
    body: '{"type":"workload.failed"}',
  });
  assert.equal(forged.status, 401);
}

async function outage({ n8n, service, world }) {
  world.down = true;
  // n8n answers 200 without a body when a workflow fails before its answer: GitHub would not send it again.
  const answer = await fromGithub(n8n, 'd-3', issue('In the outage'));
  assert.notEqual(answer.status, 202);
  const tried = world.refused;
  await eventually('the error workflow has tried twice', LONG, () => world.refused > tried + 1);
  const found = async () => (await workloads(service, 'github')).filter(({ event_id }) => event_id === 'd-3');
  assert.equal((await found()).length, 0);
  world.down = false;
  await eventually('the missed event is a workload', LONG, async () => (await found()).length === 1);
  assert.equal((await fromGithub(n8n, 'd-3', issue('In the outage'))).body.duplicate, true);
}

async function unpublish({ n8n, service }) {
  await n8n.publish(WORKFLOWS.lifecycle, false);
  const { body } = await service.ask('GET', '/api/subscriptions');
  assert.deepEqual(body.subscriptions, []);
}
