import { createHmac } from 'node:crypto';
import { Secret } from '../../contracts/secret';

/** Whose secret: that of a tenant's callbacks, of a subscription, of an inbound endpoint. */
export type SecretKind = 'callback' | 'subscription' | 'endpoint';

export interface SecretOf {
  kind: SecretKind;
  tenantId: string;
  /** Of the subscription or endpoint; the tenant's own for callbacks. */
  id: string;
  /** +1 by each rotation. */
  version: number;
}

/** How long the secret before the present one still counts after a rotation, milliseconds. */
export const OVERLAP_MS = 24 * 60 * 60_000;

const LABEL = 'opencrow-workloadd webhook secret v1';

/**
 * A signing secret in the form of Standard Webhooks, `whsec_<base64 of 32 bytes>`. It follows from the service's signing key, so
 * that nothing of it needs to be stored.
 */
export function webhookSecret(signingKey: Secret, { kind, tenantId, id, version }: SecretOf): Secret {
  return derived(signingKey, [kind, tenantId, id, version]);
}

/** The secret by which a runner signs that the job of this one delivery is done. */
export const runnerCallbackSecret = (signingKey: Secret, deliveryId: string): Secret =>
  derived(signingKey, ['runner', deliveryId]);

function derived(signingKey: Secret, of: readonly (string | number)[]): Secret {
  const text = JSON.stringify([LABEL, ...of]);
  return new Secret(`whsec_${createHmac('sha256', signingKey.reveal()).update(text).digest('base64')}`);
}

/** Where a runner says that the job of a delivery is done, below the api's own address. */
export const runnerCallbackPath = (deliveryId: string): string => `/api/runner-callbacks/${deliveryId}`;

/** The secrets that count now: the present one, and for a while after a rotation the one before. */
export function secretsInForce(
  signingKey: Secret,
  of: SecretOf,
  rotatedAt: Date | null,
  now: Date,
): [Secret, ...Secret[]] {
  const present = webhookSecret(signingKey, of);
  const overlaps = of.version > 1 && rotatedAt !== null && now.getTime() - rotatedAt.getTime() < OVERLAP_MS;
  return overlaps ? [present, webhookSecret(signingKey, { ...of, version: of.version - 1 })] : [present];
}
