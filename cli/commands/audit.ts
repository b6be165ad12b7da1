import { parseDuration } from '../../contracts/duration';
import { formatAnchor } from '../../domain/audit-chain';
import { archiveChain, BrokenSegment } from '../../ledger/audit-archive';
import { chainsOf, headsOf, unsealedBacklog } from '../../ledger/audit-seal';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { withLedger } from '../ledger-access';

/** `workloadd audit heads` */
export async function runAuditHeads(config: ConfigOf<'audit heads'>, { json }: { json?: boolean }): Promise<void> {
  const { heads, unsealed } = await withLedger(config, async (db) => ({
    heads: (await headsOf(db, await chainsOf(db))).filter(({ position }) => position > 0),
    unsealed: (await unsealedBacklog(db)).count,
  }));
  const anchors = heads.map((head) => formatAnchor({ ...head, hash: head.hash.toString('hex') }));
  if (json) console.log(JSON.stringify({ anchors, unsealed }));
  else for (const anchor of anchors) console.log(anchor);
  if (!json && unsealed > 0) console.error(`${unsealed} rows are not sealed yet`);
}

/** Arguments of `audit archive`. */
export interface ArchiveArguments {
  before: string;
  to: string;
}

/** `workloadd audit archive` */
export async function runAuditArchive(config: ConfigOf<'audit archive'>, args: ArchiveArguments): Promise<void> {
  const olderThanMs = parseDuration(args.before);
  if (olderThanMs === null)
    throw new CommandFailed(`--before ${args.before} is not a duration such as 90d`, EXIT.usage);
  const files = await withLedger(config, async (db) => {
    const written: string[] = [];
    for (const chain of await chainsOf(db)) {
      const options = { chain, olderThanMs, folder: args.to, actor: 'cli' };
      for (const { file } of await archiveChain(db, options).catch(explained)) written.push(file);
    }
    return written;
  });
  for (const file of files) console.log(file);
  if (files.length === 0) console.log('nothing is that old');
}

function explained(error: unknown): never {
  if (error instanceof BrokenSegment) throw new CommandFailed(`${error.message}: run \`workloadd verify\``);
  throw error;
}
