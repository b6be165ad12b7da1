import type { PostedEvent } from '../contracts/events';
import { Problem } from '../contracts/problems';
import type { Secret } from '../contracts/secret';
import { portOf, refusalOf, type TargetRefusal, type TargetRules } from '../domain/webhooks/allowed-target';

/** What the API knows about webhooks. */
export interface WebhookSettings {
  /** Who may be called. */
  targets: TargetRules;
  /** The service's signing key; undefined when none is configured. */
  signingKey: (() => Secret) | undefined;
}

/** Nobody is called, nothing is signed. */
export const NO_WEBHOOKS: WebhookSettings = { targets: { hosts: [], allowPrivate: false }, signingKey: undefined };

/** The signing key, or the problem `webhook.not_configured`. */
export function signingKeyOf({ signingKey }: WebhookSettings): Secret {
  if (signingKey) return signingKey();
  throw new Problem(
    'webhook.not_configured',
    'This service has no signing key: set WORKLOADD_SIGNING_KEY_FILE for api and control.',
  );
}

/**
 * Refuses a URL that may not be called: `callback.forbidden_host`, or `webhook.not_configured` when nothing could be signed.
 * What its name resolves to is looked at whenever it is called.
 */
export function checkTarget(settings: WebhookSettings, text: string, pointer: string): void {
  const url = new URL(text);
  const rule = refusalOf(url, settings.targets);
  if (rule === null) {
    signingKeyOf(settings);
    return;
  }
  throw new Problem('callback.forbidden_host', DETAILS[rule](url), {
    errors: [{ pointer, detail: `is refused by the rule ${rule}` }],
    extra: { rule },
  });
}

/** {@link checkTarget} of an event's `callback_url`, if it has one. */
export function checkCallback(settings: WebhookSettings, { callback_url: url }: PostedEvent): void {
  if (url !== undefined) checkTarget(settings, url, '/callback_url');
}

/** The host and port are the caller's own words; path and query may hold a secret and are not repeated. */
const DETAILS: Record<TargetRefusal, (url: URL) => string> = {
  no_hosts_allowed: () => 'No host may be called: name those that may in the option callback-hosts of api and control.',
  host_not_allowed: ({ hostname }) => `The host ${hostname} is not in the option callback-hosts.`,
  port_not_allowed: (url) =>
    `Port ${portOf(url)} of ${url.hostname} is not in the option callback-hosts: an entry without a port is for 80 and 443.`,
  address_not_allowed: ({ hostname }) =>
    `${hostname} is an address of this host, a private network or a reserved range; the option callback-private allows the first two.`,
};
