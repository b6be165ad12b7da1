import { operatorReason } from '../../api/fields';
import type { WorkerOrder } from '../../domain/worker-moves';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { giveOrder, type OrderArguments } from '../fleet/worker-order';
import { withLedger } from '../ledger-access';
import { print } from '../report';

/** `workloadd workers activate`, `pause`, `resume`, `retire` and `revoke`; `drain` is in `worker-drain.ts`. */
export async function runWorkerOrder(
  config: ConfigOf<'workers pause'>,
  workerId: string,
  order: WorkerOrder,
  args: OrderArguments & { json?: boolean },
): Promise<void> {
  refuseBadReason(args.reason);
  print(await withLedger(config, (db) => giveOrder(db, workerId, order, args)), args.json);
}

/** The rule for reasons that the api has too. */
export function refuseBadReason(reason: string | undefined): void {
  if (reason === undefined || operatorReason.safeParse(reason).success) return;
  throw new CommandFailed('--reason must be 1 to 1,000 characters, not blank', EXIT.usage);
}
