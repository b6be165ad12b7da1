import { z } from 'zod';
import { externalId, slug } from './ids';
import { WORKLOAD_STATES, type WorkloadState } from './terminology';

/** What the service tells others about workloads, and how others sign what they tell the service. */

/** Longest URL that is called, characters. */
const MAX_URL_CHARS = 2048;

/** Where to be told: http or https, without user, password and fragment. Which hosts are allowed is the service's own setting. */
export const webhookUrl = z
  .string()
  .max(MAX_URL_CHARS)
  .refine((text) => whyNoUrl(text) === null, { error: ({ input }) => whyNoUrl(String(input)) ?? 'is not a URL' })
  .meta({
    format: 'uri',
    description: 'http or https, at most 2,048 characters, without user, password and fragment.',
  });

function whyNoUrl(text: string): string | null {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return 'must be a URL that begins with http:// or https://';
  // The parser leaves some out and encodes others; the ledger cannot hold NUL.
  if (/[\p{Cc}\p{Cs}]/u.test(text)) return 'must not hold control characters or lone surrogates';
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return 'must not hold a user or password';
  if (text.includes('#')) return 'must not have a fragment';
  return null;
}

/** States after which a workload goes on only by a late report or an operator. */
export const ENDS = [
  'completed',
  'failed',
  'aborted',
  'dropped',
  'refused',
  'cancelled',
  'lost',
  'dead',
  'duplicate',
  'ignored',
  'denied',
] as const satisfies readonly WorkloadState[];

/** Callbacks of one workload, at most: one for each poster of the same event. */
export const MAX_CALLBACKS = 16;
/** Subscriptions of a tenant, at most. */
export const MAX_SUBSCRIPTIONS = 100;

const someOf = <T extends z.ZodType<string>>(item: T) => z.array(item).min(1).max(50);

/** States a subscription can ask for: every one that a workload comes to. */
const TOLD_STATES = WORKLOAD_STATES.filter((state) => state !== 'accepted');

/** `POST /api/subscriptions`. */
export const newSubscription = z
  .strictObject({
    url: webhookUrl,
    /** Default: the states in which a workload ends. */
    states: someOf(z.enum(TOLD_STATES)).optional(),
    /** Only workloads of these sources. Default: all. */
    sources: someOf(externalId).optional(),
    /** Only workloads of these rules. Default: all, and those that no rule decided. */
    rules: someOf(slug).optional(),
  })
  .meta({ id: 'NewSubscription' });
export type NewSubscription = z.infer<typeof newSubscription>;

const time = z.iso.datetime();

/** A subscription as the API shows it. */
export const subscriptionRecord = z
  .object({
    subscription_id: z.string(),
    /** Without its query, which may hold a secret. */
    url: z.string(),
    /** SHA-256 of the whole URL, hex: tells the owner of a URL that this is it. */
    url_hash: z.string(),
    states: z.array(z.enum(WORKLOAD_STATES)),
    /** Null: all. */
    sources: z.array(z.string()).nullable(),
    rules: z.array(z.string()).nullable(),
    created_at: time,
    /** Since when nothing is sent, because the receiver answered 410. Posting the same subscription again enables it. */
    disabled_at: time.nullable(),
  })
  .meta({ id: 'Subscription' });
export type SubscriptionRecord = z.infer<typeof subscriptionRecord>;

/** How far the telling of one target about one change has come. */
export const callbackRecord = z
  .object({
    /** The callback or subscription. */
    callback_id: z.string(),
    kind: z.enum(['callback', 'subscription']),
    host: z.string(),
    /** Also the header `webhook-id` of each try; null while there is nothing to tell. */
    message_id: z.string().nullable(),
    /** `workload.<state>`; null while there is nothing to tell. */
    type: z.string().nullable(),
    /** `waiting`: there is nothing to tell yet. `withdrawn`: the subscription was deleted. */
    state: z.enum(['waiting', 'pending', 'delivered', 'gone', 'gave_up', 'withdrawn']),
    attempts: z.int().nonnegative(),
    /** HTTP status of the last answer; null when there was none. */
    last_status: z.int().nullable(),
    /** Code of what went wrong last. */
    last_error: z.string().nullable(),
    next_attempt_at: time.nullable(),
  })
  .meta({ id: 'Callback' });
export type CallbackRecord = z.infer<typeof callbackRecord>;
