import { createHash } from 'node:crypto';
import { Problem } from '../contracts/problems';
import { MAX_CALLBACKS } from '../contracts/webhooks';
import { newBearerId } from '../domain/secret';
import type { Queryable } from './database';
import { isEnd, tellOfEnd } from './news';
import { lockWorkload } from './workload-row';

/** A URL to be called, as it is kept. */
export interface KeptUrl {
  url: string;
  urlHash: Buffer;
  /** With the port, when it is not the usual one. */
  host: string;
}

export const keptUrl = (url: string): KeptUrl => ({
  url,
  urlHash: createHash('sha256').update(url).digest(),
  host: new URL(url).host,
});

export const callbackOf = (url: string): KeptUrl & { callbackId: string } => ({
  ...keptUrl(url),
  callbackId: `cb_${newBearerId()}`,
});

/**
 * Adds a further poster's callback to a workload, at most {@link MAX_CALLBACKS}, else `callback.limit`. The same URL counts
 * once. When the workload has ended already, that is told at once. The workload's lock keeps an end from passing by unheard.
 */
export async function joinCallback(
  tx: Queryable,
  workloadId: string,
  callback: ReturnType<typeof callbackOf>,
  actor: string,
): Promise<void> {
  const row = await lockWorkload(tx, workloadId);
  if (!row) throw new Error('an accepted event has no workload');
  const known = await tx.query<{ url_hash: Buffer }>('SELECT url_hash FROM callbacks WHERE workload_id = $1', [
    workloadId,
  ]);
  if (known.some(({ url_hash }) => url_hash.equals(callback.urlHash))) return;
  if (known.length >= MAX_CALLBACKS) {
    throw new Problem('callback.limit', `The workload of this event has ${MAX_CALLBACKS} callbacks already.`, {
      errors: [{ pointer: '/callback_url', detail: 'is one callback too many for this event' }],
      extra: { workload_id: workloadId },
    });
  }
  await tx.query(
    `WITH callback AS (
       INSERT INTO callbacks (callback_id, workload_id, tenant_id, url, url_hash, host) VALUES ($1, $2, $3, $4, $5, $6)
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     VALUES ($3, $2, 'callback.joined', $7, jsonb_build_object('callback_id', $1::text, 'host', $6::text))`,
    [callback.callbackId, workloadId, row.tenant_id, callback.url, callback.urlHash, callback.host, actor],
  );
  if (isEnd(row.state)) await tellOfEnd(tx, row, callback.callbackId, callback.host);
}
