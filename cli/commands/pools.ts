import { readFileSync } from 'node:fs';
import { newPool, poolUpdate } from '../../contracts/worker-pools';
import type { PoolState } from '../../contracts/terminology';
import type { Database } from '../../ledger/database';
import { createPool, updatePool } from '../../ledger/pools';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { knownPool } from '../fleet/known';
import { afterPoolChange, poolReport, poolsReport } from '../fleet/pool-report';
import { withLedger } from '../ledger-access';
import { print, showReport, type Report, type ReportArguments } from '../report';
import { checkedWish } from '../wish';

type PoolConfig = ConfigOf<'pools list'>;

const ACTOR = { actor: 'cli' };
/** Bytes of a JSON file that is given for an option, at most; the rules for its content are tighter. */
const MAX_FILE_BYTES = 65_536;

/** `workloadd pools list` */
export const runPoolsList = (config: PoolConfig, args: ReportArguments & { state?: PoolState }): Promise<void> =>
  showReport(config, args, (db) => poolsReport(db, args));

/** `workloadd pools show` */
export const runPoolShow = (config: PoolConfig, poolId: string, args: ReportArguments): Promise<void> =>
  showReport(config, args, (db) => poolReport(db, poolId));

/** The terms of a pool as options; `false` is said by `--no-…` and clears. */
export interface PoolArguments {
  name?: string;
  mode?: string;
  region?: string | false;
  capabilities?: string | false;
  compatibility?: string | false;
  maxWorkers?: string;
  maxConcurrentWork?: string;
  autoActivate?: boolean;
  autoRecover?: boolean;
  tenants?: string;
  allTenants?: boolean;
  json?: boolean;
}

/** `workloadd pools create` */
export async function runPoolCreate(
  config: PoolConfig,
  poolId: string,
  args: PoolArguments & { paused?: boolean },
): Promise<void> {
  const wish = checkedWish(newPool, {
    ...termsOf(args),
    pool_id: poolId,
    name: args.name ?? poolId,
    status: args.paused ? 'paused' : undefined,
  });
  await change(config, args, async (db) => {
    const pool = await createPool(db, wish, ACTOR);
    const enroll = `\`workloadd worker enroll --pool ${poolId} --worker-id …\``;
    const next =
      pool.status === 'active' ? `enrol workers in it: ${enroll}` : `\`workloadd pools resume ${poolId}\` opens it`;
    return { text: `pool ${poolId} is made; it is ${pool.status}\n${next}`, json: { pool } };
  });
}

/** `workloadd pools update` */
export async function runPoolUpdate(config: PoolConfig, poolId: string, args: PoolArguments): Promise<void> {
  const wish = checkedWish(poolUpdate, termsOf(args));
  if (Object.keys(wish).length === 0) throw new CommandFailed('say what to change: see --help', EXIT.usage);
  await change(config, args, async (db) => {
    await knownPool(db, poolId);
    const pool = await updatePool(db, poolId, wish, ACTOR);
    return { text: `pool ${poolId} is changed: see \`workloadd pools show ${poolId}\``, json: { pool } };
  });
}

/** `workloadd pools pause`, `resume` and `retire`. */
export async function runPoolState(
  config: PoolConfig,
  poolId: string,
  status: PoolState,
  { json }: { json?: boolean },
): Promise<void> {
  await change(config, { json }, async (db) => {
    const { status: previous } = await knownPool(db, poolId);
    const pool = await updatePool(db, poolId, { status }, ACTOR);
    const done = previous === status ? `was ${status} already` : `is ${status}; it was ${previous}`;
    const next = await afterPoolChange(db, pool);
    return { text: [`pool ${poolId} ${done}`, ...next].join('\n'), json: { pool, previous, next } };
  });
}

async function change(
  config: PoolConfig,
  { json }: { json?: boolean | undefined },
  work: (db: Database) => Promise<Report>,
): Promise<void> {
  print(await withLedger(config, work), json);
}

function termsOf(args: PoolArguments): object {
  if (args.tenants !== undefined && args.allTenants) {
    throw new CommandFailed('--tenants and --all-tenants exclude each other', EXIT.usage);
  }
  return {
    name: args.name,
    mode: args.mode,
    region: args.region === false ? null : args.region,
    capabilities: fileOf('--capabilities', args.capabilities),
    compatibility: fileOf('--compatibility', args.compatibility),
    max_workers: numberOf('--max-workers', args.maxWorkers),
    max_concurrent_work: numberOf('--max-concurrent-work', args.maxConcurrentWork),
    auto_activate: args.autoActivate,
    auto_recover: args.autoRecover,
    tenants: args.allTenants ? null : args.tenants?.split(',').map((tenant) => tenant.trim()),
  };
}

function numberOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d{1,7}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw new CommandFailed(`${flag} must be a whole number; 0 is any number`, EXIT.usage);
}

/** The JSON in a file; null for what is to be cleared. */
function fileOf(flag: string, file: string | false | undefined): unknown {
  if (file === undefined) return undefined;
  if (file === false) return null;
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length <= MAX_FILE_BYTES) return JSON.parse(text) as unknown;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new CommandFailed(`${flag} ${code === undefined ? 'is no JSON' : `cannot be read (${code})`}`, EXIT.usage);
  }
  throw new CommandFailed(`${flag} is larger than ${MAX_FILE_BYTES} characters`, EXIT.usage);
}
