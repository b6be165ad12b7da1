import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { PolicyDiff } from '../../contracts/policy-diff';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { policyText, when } from '../support/policy';
import { startWorkloadd } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

let api: TestApi;
let ended: string;
const folder = temporaryFolder();
const file = (name: string, text: string): string => {
  const where = path.join(folder, name);
  writeFileSync(where, text, { mode: 0o600 });
  return where;
};
const rule = (decision: string) => when('entries', 'event.source == "rss"', `decision: ${decision}`);

beforeAll(async () => {
  api = await startTestApi();
  await api.ask('PUT', '/api/policy', { json: { source: policyText(rule('deny')) } });
  ended = (await api.ask('POST', '/api/events', { json: anEvent('one') })).body.workload_id;
  await api.admit(ended);
  file('token', api.token);
});
afterAll(() => api.stop());

async function run(args: string[], env: NodeJS.ProcessEnv) {
  const command = startWorkloadd(args, env);
  const { code } = await command.ended;
  return { code, stdout: command.stdout, stderr: command.stderr };
}

/** The two ways to the same answers. */
const ways = (): [string, (args: string[]) => ReturnType<typeof run>][] => [
  ['the ledger', (args) => run(args, { DATABASE_URL: api.databaseUrl })],
  ['the api', (args) => run([...args, '--api-token-file', path.join(folder, 'token'), '--api-url', api.url], {})],
];

test('explain says the same through the ledger and through the api', async () => {
  const answers = await Promise.all(ways().map(([, way]) => way(['explain', ended])));
  expect(answers.map(({ code, stderr }) => [code, stderr])).toEqual([
    [0, ''],
    [0, ''],
  ]);
  expect(answers[0]!.stdout).toBe(answers[1]!.stdout);
  expect(answers[0]!.stdout).toMatch(/said deny by rule entries/);
  expect(answers[0]!.stdout).toMatch(/entries +matched +matched/);
  for (const [, way] of ways()) {
    expect(JSON.parse((await way(['explain', ended, '--json'])).stdout)).toMatchObject({
      workload_id: ended,
      recomputed: true,
    });
    expect(await way(['explain', `wl_${'a'.repeat(32)}`])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no such workload/i),
    });
  }
});

test('policy diff prints a table, exits 0, and 1 only when it is told to fail on a change', async () => {
  const [same, other, bad] = [
    file('same.yaml', policyText(rule('deny'))),
    file('other.yaml', policyText(rule('dispatch'))),
    file('bad.yaml', policyText(when('a', 'event.sorce == "rss"'))),
  ];
  for (const [, way] of ways()) {
    const changed = await way(['policy', 'diff', '--candidate', other]);
    expect(changed).toMatchObject({ code: 0, stderr: '' });
    expect(changed.stdout).toMatch(/WORKLOAD.*\n.*deny \(entries\).*dispatch \(entries\)/);
    expect(changed.stdout).toContain('deny → dispatch: 1');
    expect((await way(['policy', 'diff', '--candidate', other, '--fail-on-change'])).code).toBe(1);
    expect(await way(['policy', 'diff', '--candidate', same, '--fail-on-change'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('0 decisions of'),
    });
    const json = JSON.parse(
      (await way(['policy', 'diff', '--candidate', other, '--json', '--last', '1'])).stdout,
    ) as PolicyDiff;
    expect(json).toMatchObject({ events: 1, changed: 1, complete: true });
  }
  const refused = await ways()[0]![1](['policy', 'diff', '--candidate', bad]);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/bad\.yaml:4:\d+: rule a, when: /) });
  expect((await ways()[0]![1](['policy', 'diff', '--candidate', other, '--last', '0'])).code).toBe(2);
});

test('replay needs a reason, and is linked', async () => {
  for (const [name, way] of ways()) {
    expect((await way(['replay', ended])).code).toBe(2);
    const made = await way(['replay', ended, '--reason', `by ${name}`]);
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining(`${ended} is posted again as wl_`) });
  }
  const { replays } = (await api.ask('GET', `/api/workloads/${ended}`)).body;
  expect(replays.map(({ reason }) => reason)).toEqual(['by the ledger', 'by the api']);
  expect(replays[0]!.actor).toBe('cli');
});

test('a tenant is chosen by the token or by the option, not by both', async () => {
  const [[, ledger], [, service]] = ways() as [ReturnType<typeof ways>[0], ReturnType<typeof ways>[0]];
  expect((await ledger(['explain', ended, '--tenant', 'another'])).code).toBe(1);
  expect((await service(['explain', ended, '--tenant', 'default'])).code).toBe(2);
});
