import { createHash } from 'node:crypto';
import { Problem } from '../contracts/problems';
import type { WorkloadState } from '../contracts/terminology';
import { ENDS, MAX_SUBSCRIPTIONS, type NewSubscription, type SubscriptionRecord } from '../contracts/webhooks';
import { newBearerId } from '../domain/secret';
import { keptUrl } from './callbacks';
import type { Database, Queryable } from './database';

interface SubscriptionRow {
  subscription_id: string;
  url: string;
  url_hash: Buffer;
  states: WorkloadState[];
  sources: string[] | null;
  rules: string[] | null;
  secret_version: number;
  created_at: Date;
  disabled_at: Date | null;
}

/** A subscription with the version of its secret. */
export interface Subscription {
  record: SubscriptionRecord;
  secretVersion: number;
}

const shown = (row: SubscriptionRow): Subscription => ({
  record: {
    subscription_id: row.subscription_id,
    url: withoutQuery(row.url),
    url_hash: row.url_hash.toString('hex'),
    states: row.states,
    sources: row.sources,
    rules: row.rules,
    created_at: row.created_at.toISOString(),
    disabled_at: row.disabled_at?.toISOString() ?? null,
  },
  secretVersion: row.secret_version,
});

function withoutQuery(text: string): string {
  const { origin, pathname, search } = new URL(text);
  return origin + pathname + (search === '' ? '' : '?…');
}

const COLUMNS = 'subscription_id, url, url_hash, states, sources, rules, secret_version, created_at, disabled_at';

/**
 * Subscribes a URL. The same URL with the same filters is the same subscription, enabled again if it was disabled; `created`
 * says which. More than a tenant may have is `subscription.limit`.
 */
export async function subscribe(
  db: Database,
  tenantId: string,
  wish: NewSubscription,
  actor: string,
): Promise<Subscription & { created: boolean }> {
  const sorted = <T extends string>(list: readonly T[] | undefined): T[] | null =>
    list === undefined ? null : [...new Set(list)].sort();
  const states = sorted(wish.states ?? ENDS)!;
  const [sources, rules] = [sorted(wish.sources), sorted(wish.rules)];
  const wishHash = createHash('sha256')
    .update(JSON.stringify([wish.url, states, sources, rules]))
    .digest();
  return db.transaction(async (tx) => {
    // Creations of a tenant one after the other, so that they count each other.
    await tx.query("SELECT pg_advisory_xact_lock(hashtext('subscriptions'), hashtext($1))", [tenantId]);
    const [known] = await tx.query<SubscriptionRow>(
      `UPDATE subscriptions SET disabled_at = NULL WHERE tenant_id = $1 AND wish_hash = $2 RETURNING ${COLUMNS}`,
      [tenantId, wishHash],
    );
    if (known) return { ...shown(known), created: false };
    const [counted] = await tx.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM subscriptions WHERE tenant_id = $1',
      [tenantId],
    );
    if (counted!.count >= MAX_SUBSCRIPTIONS) {
      throw new Problem('subscription.limit', `The tenant has ${MAX_SUBSCRIPTIONS} subscriptions already.`);
    }
    const { url, urlHash, host } = keptUrl(wish.url);
    const [created] = await tx.query<SubscriptionRow>(
      `INSERT INTO subscriptions (subscription_id, tenant_id, url, url_hash, wish_hash, host, states, sources, rules)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ${COLUMNS}`,
      [`sub_${newBearerId()}`, tenantId, url, urlHash, wishHash, host, states, sources, rules],
    );
    await note(tx, tenantId, 'subscription.created', actor, {
      subscription_id: created!.subscription_id,
      host,
      states,
      sources,
      rules,
    });
    return { ...shown(created!), created: true };
  });
}

const note = (db: Queryable, tenantId: string, type: string, actor: string, detail: object): Promise<unknown> =>
  db.query('INSERT INTO audit (tenant_id, type, actor, detail) VALUES ($1, $2, $3, $4::jsonb)', [
    tenantId,
    type,
    actor,
    JSON.stringify(detail),
  ]);

/** All subscriptions of a tenant, oldest first. */
export async function listSubscriptions(db: Queryable, tenantId: string): Promise<Subscription[]> {
  const rows = await db.query<SubscriptionRow>(
    `SELECT ${COLUMNS} FROM subscriptions WHERE tenant_id = $1 ORDER BY created_at, subscription_id`,
    [tenantId],
  );
  return rows.map(shown);
}

/** A tenant's subscription; `not_found` when it has no such one. */
export async function subscriptionOf(db: Queryable, tenantId: string, id: string): Promise<Subscription> {
  const [row] = await db.query<SubscriptionRow>(
    `SELECT ${COLUMNS} FROM subscriptions WHERE tenant_id = $1 AND subscription_id = $2`,
    [tenantId, id],
  );
  return found(row);
}

function found(row: SubscriptionRow | undefined): Subscription {
  if (row) return shown(row);
  throw new Problem('not_found', 'No such subscription.');
}

/** Gives a subscription another secret; for a while what is sent is signed with the one before too. */
export async function rotateSubscription(
  db: Database,
  tenantId: string,
  id: string,
  actor: string,
): Promise<Subscription> {
  return db.transaction(async (tx) => {
    const [row] = await tx.query<SubscriptionRow>(
      `UPDATE subscriptions SET secret_version = secret_version + 1, rotated_at = clock_timestamp()
       WHERE tenant_id = $1 AND subscription_id = $2 RETURNING ${COLUMNS}`,
      [tenantId, id],
    );
    const rotated = found(row);
    await note(tx, tenantId, 'subscription.rotated', actor, { subscription_id: id, version: rotated.secretVersion });
    return rotated;
  });
}

/** Ends a subscription: what was not delivered yet is withdrawn. `not_found` when the tenant has no such one. */
export async function unsubscribe(db: Database, tenantId: string, id: string, actor: string): Promise<void> {
  await db.transaction(async (tx) => {
    const [gone] = await tx.query<{ host: string }>(
      'DELETE FROM subscriptions WHERE tenant_id = $1 AND subscription_id = $2 RETURNING host',
      [tenantId, id],
    );
    if (!gone) throw new Problem('not_found', 'No such subscription.');
    await tx.query(
      `UPDATE webhook_messages SET state = 'withdrawn', ended_at = clock_timestamp() WHERE target_id = $1 AND state = 'pending'`,
      [id],
    );
    await note(tx, tenantId, 'subscription.deleted', actor, { subscription_id: id, host: gone.host });
  });
}
