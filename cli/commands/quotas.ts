import { ENTITLEMENTS, MAX_LIMIT, QUOTAS_OF, type Entitlement, type Limits, type Quota } from '../../contracts/quotas';
import { Problem } from '../../contracts/problems';
import { quotaAnswer } from '../../api/quota-answer';
import type { Database } from '../../ledger/database';
import {
  limitedHolders,
  quotasOf,
  setEntitlement,
  setQuotas,
  type QuotaHolder,
  type QuotaRecord,
} from '../../ledger/quotas';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { withLedger } from '../ledger-access';
import { print, showReport, type Report, type ReportArguments } from '../report';
import { table } from '../table';
import { refuseBadReason } from './worker-orders';

/** Arguments of `quotas list`. */
export interface QuotaListArguments extends ReportArguments {
  tenant?: string;
  pool?: string;
}

/** Arguments of `quotas set`. */
export interface QuotaSetArguments extends Omit<QuotaListArguments, 'watch'> {
  limit?: string[];
  entitlement?: string;
  reason: string;
}

type Shown = QuotaHolder & { record: QuotaRecord };

/** `workloadd quotas list` */
export async function runQuotasList(config: ConfigOf<'quotas list'>, args: QuotaListArguments): Promise<void> {
  const named = holderOf(args);
  await showReport(config, args, async (db) => {
    const shown: Shown[] = [];
    for (const holder of named ? [named] : await limitedHolders(db)) {
      shown.push({ ...holder, record: await known(() => quotasOf(db, holder), holder) });
    }
    return { text: textOf(shown), json: { quotas: shown.map(jsonOf) } };
  });
}

/** `workloadd quotas set` */
export async function runQuotasSet(config: ConfigOf<'quotas set'>, args: QuotaSetArguments): Promise<void> {
  const holder = holderOf(args);
  if (!holder) throw new CommandFailed('say whose: --tenant or --pool', EXIT.usage);
  const changes = changesOf(holder, args.limit ?? []);
  const entitlement = entitlementOf(holder, args.entitlement);
  if (!entitlement && Object.keys(changes).length === 0) {
    throw new CommandFailed('say what: --limit or --entitlement', EXIT.usage);
  }
  refuseBadReason(args.reason);
  const order = { actor: 'cli', reason: args.reason };
  const change = async (db: Database): Promise<Report> => {
    if (entitlement) await setEntitlement(db, holder.id, entitlement, order);
    const record = await setQuotas(db, holder, (limits) => ({ ...limits, ...changes }), order);
    const shown = { ...holder, record };
    return { text: textOf([shown]), json: { quotas: jsonOf(shown) } };
  };
  print(await withLedger(config, (db) => known(() => change(db), holder)), args.json);
}

function holderOf({ tenant, pool }: QuotaListArguments): QuotaHolder | null {
  if (tenant !== undefined && pool !== undefined) throw new CommandFailed('either --tenant or --pool', EXIT.usage);
  if (tenant !== undefined) return { scope: 'tenant', id: tenant };
  return pool === undefined ? null : { scope: 'pool', id: pool };
}

/** `queued_work=100` limits, `queued_work=none` no longer does. */
function changesOf({ scope }: QuotaHolder, written: readonly string[]): Limits {
  return Object.fromEntries(
    written.map((each) => {
      const [quota = '', ...rest] = each.split('=');
      const value = rest.join('=');
      if (!(QUOTAS_OF[scope] as readonly string[]).includes(quota)) {
        throw new CommandFailed(
          `--limit ${JSON.stringify(each)}: a ${scope} has ${QUOTAS_OF[scope].join(', ')}`,
          EXIT.usage,
        );
      }
      if (value !== 'none' && !(/^\d{1,13}$/.test(value) && Number(value) <= MAX_LIMIT)) {
        throw new CommandFailed(
          `--limit ${JSON.stringify(each)}: ${quota} must be a whole number up to ${MAX_LIMIT}, or \`none\``,
          EXIT.usage,
        );
      }
      return [quota as Quota, value === 'none' ? undefined : Number(value)];
    }),
  );
}

function entitlementOf({ scope }: QuotaHolder, written: string | undefined): Entitlement | null {
  if (written === undefined) return null;
  const entitlement = ENTITLEMENTS.find((each) => each === written);
  if (entitlement && scope === 'tenant') return entitlement;
  throw new CommandFailed(`--entitlement is of a tenant: ${ENTITLEMENTS.join(' or ')}`, EXIT.usage);
}

async function known<T>(work: () => Promise<T>, { scope, id }: QuotaHolder): Promise<T> {
  return work().catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'not_found') {
      throw new CommandFailed(`there is no ${scope} ${JSON.stringify(id)} (--${scope})`);
    }
    throw error;
  });
}

const jsonOf = ({ scope, id, record }: Shown): object => ({
  [`${scope}_id`]: id,
  ...(record.entitlement && { entitlement: record.entitlement }),
  ...quotaAnswer(record),
});

function textOf(shown: readonly Shown[]): string {
  const rows = shown.flatMap(({ scope, id, record }) => [
    ...(record.entitlement === 'lapsed' ? [[scope, id, 'entitlement', 'lapsed', '-', '-']] : []),
    ...record.standings.map(({ quota, used, limit, resetAt }) => [
      scope,
      id,
      quota,
      String(used),
      String(limit),
      resetAt?.toISOString() ?? '-',
    ]),
  ]);
  return rows.length === 0 ? 'no limits are set' : table(['OF', 'ID', 'QUOTA', 'USED', 'LIMIT', 'RESETS'], rows);
}
