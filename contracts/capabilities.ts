import { z } from 'zod';
import { slug, storableText } from './ids';

/** What a hook does: `context` only reads, `mutation` changes something. A grant of one kind never opens a hook of the other. */
export const CAPABILITY_KINDS = ['context', 'mutation'] as const;
export type CapabilityKind = (typeof CAPABILITY_KINDS)[number];

/** Bounds of grants. */
export const CAPABILITY_LIMITS = {
  /** Grants of one rule. */
  grants: 32,
  /** Operations of one grant. */
  operations: 32,
  /** Resources of one grant. */
  resources: 32,
  /** UTF-16 units of one resource. */
  resourceChars: 512,
  /** Characters of one glob. */
  globChars: 128,
  /** Bytes that {@link offeredCapabilities} of one rule may take in the trigger line. */
  offeredBytes: 1500,
} as const;

/** A permission as it stands with the decision: expressions are evaluated, so nothing in it depends on the event any more. */
export interface CapabilityGrant {
  hook: string;
  kind: CapabilityKind;
  operations: string[];
  /** Resources it opens, to the letter. */
  literals: string[];
  /** Patterns of resources it opens, as the policy's author wrote them; never from an event. */
  globs: string[];
  /** Uses that each delivery gets. */
  max_uses: number;
  /** Milliseconds from the handing over. */
  ttl: number;
}

/** What a trigger line says of grants: which operations of which hooks may be tried. */
export interface OfferedCapability {
  hook: string;
  operations: string[];
}

/** The grants as a trigger line tells them: each hook once. */
export function offeredCapabilities(
  grants: readonly Pick<CapabilityGrant, 'hook' | 'operations'>[],
): OfferedCapability[] {
  const hooks = new Map<string, Set<string>>();
  for (const { hook, operations } of grants) {
    const known = hooks.get(hook) ?? new Set();
    hooks.set(hook, known);
    for (const operation of operations) known.add(operation);
  }
  return [...hooks].map(([hook, operations]) => ({ hook, operations: [...operations] }));
}

/**
 * Why a capability is refused, in the order in which the reasons are looked for:
 * - `unknown`: no such token, or another tenant's
 * - `wrong_delivery`: of a delivery that another one came after
 * - `closed`: the delivery ended, or somebody revoked it
 * - `suspended`: the work is not going on just now
 * - `operation_not_granted`: no grant of this kind names this hook with this operation
 * - `resource_not_granted`: none of these grants opens the resource
 * - `expired`: of those that do, the time is over
 * - `exhausted`: of those that do and live, all uses are spent
 */
export const CAPABILITY_REFUSALS = [
  'unknown',
  'wrong_delivery',
  'closed',
  'suspended',
  'operation_not_granted',
  'resource_not_granted',
  'expired',
  'exhausted',
] as const;
export type CapabilityRefusal = (typeof CAPABILITY_REFUSALS)[number];

/** `POST /api/capabilities/authorize`: may the bearer of this token do this now? */
export const authorizeRequest = z.strictObject({
  /** As the agent showed it. */
  token: storableText(256)
    .min(1)
    .meta({ description: '`capability_token` of the trigger line, as the agent showed it.' }),
  hook: slug,
  /** What the asking hook does. Default `context`. A hook that changes something must say `mutation`. */
  kind: z
    .enum(CAPABILITY_KINDS)
    .default('context')
    .meta({ description: 'What the asking hook does. One that changes something must say `mutation`.' }),
  operation: slug,
  resource: storableText(CAPABILITY_LIMITS.resourceChars).min(1),
  /** Chosen by the hook, never by the agent: a repeat with the same key is not counted again. */
  idempotency_key: storableText(256).min(1).optional().meta({
    description:
      "Chosen by the hook, never by the agent, e.g. n8n's execution id: a repeat is not counted and gets the same answer.",
  }),
});
export type AuthorizeRequest = z.output<typeof authorizeRequest>;

/** Answer 200: allowed, and counted. */
export const authorizeAnswer = z
  .object({
    allowed: z.literal(true),
    workload_id: z.string(),
    delivery_id: z.string(),
    /** Number of this use within its grant, from 1. */
    use: z.int().positive(),
    /** Uses that the grant has left. */
    remaining: z.int().nonnegative(),
    /** When the grant ends, unless its work ends before. */
    expires_at: z.iso.datetime(),
  })
  .meta({ id: 'CapabilityAllowed' });
export type AuthorizeAnswer = z.output<typeof authorizeAnswer>;

const time = z.iso.datetime();
const count = z.int().nonnegative();

/** What a workload's deliveries may do, and did, as records show it. Never a token. */
export const capabilitiesRecord = z
  .object({
    grants: z.array(
      z.object({
        number: count,
        hook: z.string(),
        kind: z.enum(CAPABILITY_KINDS),
        operations: z.array(z.string()),
        /** To the letter. */
        resources: z.array(z.string()),
        globs: z.array(z.string()),
        /** Of each delivery. */
        max_uses: count,
        /** From the handing over. */
        ttl_ms: count,
      }),
    ),
    /** Once revoked, no later delivery gets a token either. */
    revoked: z.object({ at: time, by: z.string(), reason: z.string() }).nullable(),
    /** The tokens, one a delivery. */
    deliveries: z.array(
      z.object({
        number: count,
        /** `pending`: not handed over yet. */
        state: z.enum(['pending', 'active', 'suspended', 'closed']),
        /** Why it is closed: the reason of the workload's change, `revoked` or `expired`. */
        close_reason: z.string().nullable(),
        closed_at: time.nullable(),
        minted_at: time,
        /** Attempts that were refused. */
        refused: count,
        grants: z.array(z.object({ number: count, uses: count, remaining: count, expires_at: time.nullable() })),
      }),
    ),
  })
  .meta({ id: 'Capabilities' });
export type CapabilitiesRecord = z.output<typeof capabilitiesRecord>;
