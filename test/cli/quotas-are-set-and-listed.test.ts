import { runQuotasList, runQuotasSet, type QuotaSetArguments } from '../../cli/commands/quotas';
import { loadConfig } from '../../cli/config';
import { here } from '../support/command-here';
import { commandLine } from '../support/command-line';
import { FreshLedger, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
let env: { DATABASE_URL: string };
beforeAll(async () => {
  ledger = await FreshLedger.open();
  env = { DATABASE_URL: ledger.schema.url };
});
afterAll(() => ledger.close());

const config = () => loadConfig('quotas list', { flags: {}, env });
const set = (args: Partial<QuotaSetArguments>) => here(() => runQuotasSet(config(), { reason: 'as agreed', ...args }));
const list = (args: Parameters<typeof runQuotasList>[1] = {}) => here(() => runQuotasList(config(), args));

test('limits are set one by one, count at once, are listed with their use, and are taken away', async () => {
  expect(await list()).toEqual({ code: 0, stdout: 'no limits are set\n', stderr: '' });
  const tenant = await ledger.tenant();
  const first = await commandLine(
    ['quotas', 'set', '--tenant', tenant, '--limit', 'queued_work=1', 'events_per_hour=9', '--reason', 'as agreed'],
    env,
  );
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(first.stdout).toMatch(/^OF +ID +QUOTA +USED +LIMIT +RESETS\n/);
  await ledger.accept({}, tenant);
  expect(await refusal(ledger.accept({}, tenant))).toBe('quota.exceeded');

  const changed = await set({ tenant, limit: ['queued_work=2'], json: true });
  expect(JSON.parse(changed.stdout)).toMatchObject({
    quotas: {
      tenant_id: tenant,
      entitlement: 'active',
      use: [
        { quota: 'events_per_hour', limit: 9, used: 1 },
        { quota: 'queued_work', limit: 2, used: 1, reset_at: null },
      ],
      queue: { work: 1 },
    },
  });
  await ledger.accept({}, tenant);
  const { poolId: pool } = await ledger.enrol();
  await set({ pool, limit: ['queue_age=60'] });
  const all = await commandLine(['quotas', 'list', '--json'], env);
  expect(JSON.parse(all.stdout)).toMatchObject({ quotas: [{ pool_id: pool }, { tenant_id: tenant }] });
  expect((await list({ tenant })).stdout).toMatch(
    new RegExp(`^tenant +${tenant} +events_per_hour +2 +9 +20\\S+Z$`, 'm'),
  );

  await set({ tenant, limit: ['queued_work=none', 'events_per_hour=none'], entitlement: 'lapsed' });
  expect((await list({ tenant })).stdout).toMatch(new RegExp(`\\ntenant +${tenant} +entitlement +lapsed +- +-\\n$`));
  expect(await refusal(ledger.accept({}, tenant))).toBe('entitlement.lapsed');
  const audit = await ledger.db.query(
    "SELECT type, actor, detail->>'operator_reason' AS reason FROM audit WHERE tenant_id = $1 AND type LIKE '%set' ORDER BY seq",
    [tenant],
  );
  const said = { actor: 'cli', reason: 'as agreed' };
  expect(audit).toEqual([
    { type: 'quota.set', ...said },
    { type: 'quota.set', ...said },
    { type: 'tenant.entitlement_set', ...said },
    { type: 'quota.set', ...said },
  ]);
});

test('what is refused names its option and sets nothing', async () => {
  const tenant = await ledger.tenant();
  const limit = ['queued_work=1'];
  const refused: [Partial<QuotaSetArguments>, number, string][] = [
    [{ limit }, 2, 'say whose: --tenant or --pool'],
    [{ tenant, pool: 'default', limit }, 2, 'either --tenant or --pool'],
    [{ tenant }, 2, 'say what: --limit or --entitlement'],
    [{ tenant, limit, reason: ' ' }, 2, '--reason must be 1 to 1,000 characters, not blank'],
    [{ tenant, limit, entitlement: 'gone' }, 2, '--entitlement is of a tenant: active or lapsed'],
    [{ pool: 'default', entitlement: 'lapsed' }, 2, '--entitlement is of a tenant: active or lapsed'],
    [{ pool: 'default', limit: ['events_per_hour=1'] }, 2, '--limit "events_per_hour=1": a pool has queued_work, '],
    [{ tenant, limit: [...limit, 'workers=1'] }, 2, '--limit "workers=1": a tenant has concurrent_work, '],
    ...['queued_work', 'queued_work=-1', 'queued_work=1.5', 'queued_work=1=2', 'queued_work=9999999999999'].map(
      (each): [Partial<QuotaSetArguments>, number, string] => [
        { tenant, limit: [each] },
        2,
        `--limit "${each}": queued_work must be a whole number up to `,
      ],
    ),
    [{ tenant: 'nobody', limit }, 1, 'there is no tenant "nobody" (--tenant)'],
    [{ pool: 'nowhere', limit }, 1, 'there is no pool "nowhere" (--pool)'],
  ];
  for (const [args, code, text] of refused) {
    const end = await set(args);
    expect({ ...end, stderr: end.stderr.slice(0, text.length + 7) }).toEqual({
      code,
      stdout: '',
      stderr: `error: ${text}`,
    });
  }
  expect(await ledger.db.query('SELECT 1 FROM quotas WHERE scope_id IN ($1, $2)', [tenant, 'default'])).toEqual([]);
  expect(await list({ tenant: 'nobody' })).toMatchObject({
    code: 1,
    stderr: 'error: there is no tenant "nobody" (--tenant)\n',
  });
});
