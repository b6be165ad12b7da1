import { operatorReason } from '../../api/fields';
import { linksOf } from '../../api/links';
import { replayAnswer } from '../../api/routes/replay';
import { replayWithin } from '../../ledger/replays';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { askService } from '../service-access';

/** Arguments of `replay`. */
export interface ReplayArguments {
  reason: string;
  bypassDedupe?: boolean;
  tenant?: string;
  json?: boolean;
}

/** `workloadd replay` */
export async function runReplay(config: ConfigOf<'replay'>, workloadId: string, args: ReplayArguments): Promise<void> {
  const { reason, bypassDedupe = false } = args;
  if (!operatorReason.safeParse(reason).success) {
    throw new CommandFailed('--reason must be 1 to 1,000 characters, not blank', EXIT.usage);
  }
  const replay = await askService(config, args.tenant, {
    method: 'POST',
    path: `/api/workloads/${encodeURIComponent(workloadId)}/replay`,
    json: { reason, bypass_dedupe: bypassDedupe },
    answer: replayAnswer,
    // The relay of a running api or `up` tells Temporal of it.
    fromLedger: (db, tenantId) =>
      db.transaction(async (tx) => {
        const made = await replayWithin(tx, { tenantId, workloadId, actor: 'cli', reason, bypassDedupe });
        const { workloadId: id } = made;
        return { workload_id: id, replay_of: workloadId, state: 'accepted' as const, links: linksOf(id) };
      }),
  });
  console.log(args.json ? JSON.stringify(replay, null, 2) : `${workloadId} is posted again as ${replay.workload_id}`);
}
