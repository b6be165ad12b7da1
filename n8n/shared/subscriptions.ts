import { createHash } from 'node:crypto';
import { pathOf, withoutBlanks } from './api-request';
import type { ApiRequest } from './api-request';

/** Which lifecycle callbacks are wanted; what is empty does not filter. */
export interface SubscriptionFilter {
  states: string[];
  sources: string[];
  rules: string[];
}

/** A subscription as the service tells it; the secret only at its creation. */
export interface NewSubscription {
  subscriptionId: string;
  secret: string;
}

/** The texts of a comma separated list. */
export const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');

export function createSubscription(url: string, filter: SubscriptionFilter): ApiRequest {
  const lists = Object.entries(filter).map(([name, list]: [string, string[]]) => [name, list.length > 0 ? list : null]);
  return { method: 'POST', path: '/api/subscriptions', body: { url, ...withoutBlanks(Object.fromEntries(lists)) } };
}

export const getSubscription = (id: string): ApiRequest => ({ method: 'GET', path: pathOf`/api/subscriptions/${id}` });

export const deleteSubscription = (id: string): ApiRequest => ({
  method: 'DELETE',
  path: pathOf`/api/subscriptions/${id}`,
});

/** Reads the answer of the creation; null when it is not one. */
export function newSubscriptionOf(body: unknown): NewSubscription | null {
  const { subscription, secret } = (body ?? {}) as { subscription?: { subscription_id?: unknown }; secret?: unknown };
  const id = subscription?.subscription_id;
  return typeof id === 'string' && typeof secret === 'string' ? { subscriptionId: id, secret } : null;
}

/** True when a subscription, as the service shows it, posts to this address and is not disabled. */
export function tells(body: unknown, url: string): boolean {
  const { subscription } = (body ?? {}) as { subscription?: { url_hash?: unknown; disabled_at?: unknown } };
  const hash = createHash('sha256').update(url).digest('hex');
  return subscription?.url_hash === hash && subscription.disabled_at == null;
}
