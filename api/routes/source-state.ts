import { z } from 'zod';
import { externalId, storableText } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import {
  stateDocument,
  stateEtag,
  stateName,
  stateSummary,
  stateVersion,
  stateWrite,
} from '../../contracts/source-state';
import type { StateDocument } from '../../contracts/source-state';
import { onceForKey } from '../../ledger/idempotency';
import { lockState, meets, preconditionFailed, writeState } from '../../ledger/source-state';
import type { StateChange, StateCondition, StateName } from '../../ledger/source-state';
import { listStates, stateOf, stateVersionsOf } from '../../ledger/source-state-queries';
import type { Queryable } from '../../ledger/database';
import type { TokenPrincipal } from '../../ledger/tokens';
import type { RouteDeps } from '../app-deps';
import { idempotencyHeaders, pageCursor, pageLimit } from '../fields';
import { problemFromZod } from '../problem';
import { route } from '../route';

const ONE = '/api/sources/{source}/state/{key}';
const access = { kind: 'token', scopes: ['sources:write'] } as const;
/** Checked by {@link nameOf}, which names what is wrong with them. */
const params = z.object({ source: z.string(), key: z.string() });

function nameOf({ tenantId }: TokenPrincipal, given: { source: string; key: string }): StateName {
  const parsed = stateName.safeParse(given);
  if (parsed.success) return { tenantId, ...parsed.data };
  throw problemFromZod(parsed.error, '/path');
}

const etagOf = ({ version }: { version: number }): string => `"${version}"`;

const ifMatch = z
  .union([stateEtag, z.literal('*')])
  .optional()
  .meta({
    type: 'string',
    description: 'The ETag that the key must have, or `*`: it must exist.',
    example: '"3"',
  });

const getRoute = route({
  method: 'get',
  path: ONE,
  operationId: 'getSourceState',
  tag: 'Sources',
  summary: 'Read a key of a source',
  access,
  params,
  headers: z.object({
    'If-None-Match': z.string().optional().meta({ description: 'An ETag: 304 while it is the same.' }),
  }),
  answers: {
    200: { description: 'The key.', schema: stateDocument, headers: { ETag: 'Its version, quoted' } },
    304: { description: 'It is the same.' },
  },
  handle: async ({ deps, principal, params: given, headers }) => {
    const found = await stateOf(deps.db, nameOf(principal, given));
    if (!found) throw new Problem('not_found', 'No such key.');
    const ETag = etagOf(found);
    const known = (headers['If-None-Match'] ?? '').split(',').map((each) => each.trim().replace(/^W\//, ''));
    if (known.includes(ETag)) return { status: 304, body: undefined, headers: { ETag } };
    return { status: 200, body: found, headers: { ETag } };
  },
});

interface Write {
  deps: RouteDeps;
  principal: TokenPrincipal;
  name: StateName;
  key: string | undefined;
  method: 'PUT' | 'DELETE';
  condition: StateCondition;
  value: unknown;
  change: (tx: Queryable) => Promise<StateChange & { created: boolean }>;
}

const changeMade = z.object({ version: z.number(), updated_at: z.string(), created: z.boolean() });

/** Makes a change, once for its Idempotency-Key if it has one. What is stored for that holds no value. */
async function carryOut({ deps, principal, name, key, method, condition, value, change }: Write) {
  const made = async (tx: Queryable): Promise<z.infer<typeof changeMade>> => {
    const { version, updatedAt, created } = await change(tx);
    return { version, updated_at: updatedAt.toISOString(), created };
  };
  if (key === undefined) return { ...(await deps.db.transaction(made)), replayed: false };
  const fingerprint = JSON.stringify([name.source, name.key, condition, value]);
  const request = { tenantId: principal.tenantId, route: `${method} ${ONE}`, key, fingerprint };
  const { answer, replayed } = await onceForKey(deps.db, request, async (tx) => ({
    status: 200,
    answer: JSON.stringify(await made(tx)),
  }));
  return { ...changeMade.parse(JSON.parse(answer)), replayed };
}

const replayHeader = (replayed: boolean): Record<string, string> => (replayed ? { 'Idempotent-Replayed': 'true' } : {});

const conditionOf = (match: number | '*'): StateCondition => (match === '*' ? 'exists' : { version: match });

function putCondition(match: number | '*' | undefined, noneMatch: '*' | undefined): StateCondition {
  if (match !== undefined && noneMatch !== undefined) {
    throw new Problem('request.invalid', 'If-Match and If-None-Match cannot both be.', {
      errors: [{ pointer: '/headers/If-None-Match', detail: 'is there beside If-Match' }],
    });
  }
  if (match !== undefined) return conditionOf(match);
  return noneMatch === undefined ? 'any' : 'absent';
}

const putRoute = route({
  method: 'put',
  path: ONE,
  operationId: 'putSourceState',
  tag: 'Sources',
  summary: 'Write a key of a source, if nobody else did',
  description:
    'Of those that write with the same `If-Match` at once one gets through; the others get 412 with `current_version`. Without ' +
    'a condition the last one wins, whatever another has written meanwhile: a cursor wants `If-Match`.',
  access,
  params,
  headers: idempotencyHeaders.extend({
    'If-Match': ifMatch,
    'If-None-Match': z.literal('*').optional().meta({ description: '`*`: the key must not exist.' }),
  }),
  body: { 'application/json': stateWrite },
  answers: {
    200: { description: 'Written.', schema: stateDocument, headers: { ETag: 'Its version, quoted' } },
    201: { description: 'Created.', schema: stateDocument, headers: { ETag: 'Its version, quoted' } },
  },
  problems: ['state.precondition_failed', 'state.too_many_keys', 'idempotency.conflict'],
  handle: async ({ deps, principal, params: given, headers, body: { value } }) => {
    const name = nameOf(principal, given);
    const condition = putCondition(headers['If-Match'], headers['If-None-Match']);
    const actor = `token:${principal.tokenId}`;
    const change = async (tx: Queryable) => {
      const locked = await lockState(tx, name);
      if (!meets(locked, condition)) throw preconditionFailed(locked);
      return { ...(await writeState(tx, locked, value, actor)), created: locked.version === null };
    };
    const key = headers['Idempotency-Key'];
    const made = await carryOut({ deps, principal, name, key, method: 'PUT', condition, value, change });
    const { version, updated_at } = made;
    const body: StateDocument = { source: name.source, key: name.key, version, value, updated_at };
    return {
      status: made.created ? 201 : 200,
      body,
      headers: { ETag: etagOf(made), ...replayHeader(made.replayed) },
    };
  },
});

const deleteRoute = route({
  method: 'delete',
  path: ONE,
  operationId: 'deleteSourceState',
  tag: 'Sources',
  summary: 'Delete a key of a source',
  description:
    'Its versions can still be read for a while, and are never used again: a key that comes anew goes on after them.',
  access,
  params,
  headers: idempotencyHeaders.extend({ 'If-Match': ifMatch }),
  answers: { 204: { description: 'Deleted.' } },
  problems: ['state.precondition_failed', 'idempotency.conflict'],
  handle: async ({ deps, principal, params: given, headers }) => {
    const name = nameOf(principal, given);
    const match = headers['If-Match'];
    const condition = match === undefined ? 'any' : conditionOf(match);
    const change = async (tx: Queryable) => {
      const locked = await lockState(tx, name);
      if (locked.version === null) throw new Problem('not_found', 'No such key.');
      if (!meets(locked, condition)) throw preconditionFailed(locked);
      return { ...(await writeState(tx, locked, undefined, `token:${principal.tokenId}`)), created: false };
    };
    const key = headers['Idempotency-Key'];
    const made = await carryOut({ deps, principal, name, key, method: 'DELETE', condition, value: null, change });
    return { status: 204, body: undefined, headers: replayHeader(made.replayed) };
  },
});

const versionsRoute = route({
  method: 'get',
  path: `${ONE}/versions`,
  operationId: 'listSourceStateVersions',
  tag: 'Sources',
  summary: 'The last 20 versions of a key, newest first',
  description: 'Deletions are versions too. A deleted key is forgotten after a while.',
  access,
  params,
  answers: { 200: { description: 'The versions.', schema: z.object({ versions: z.array(stateVersion) }) } },
  handle: async ({ deps, principal, params: given }) => {
    const versions = await stateVersionsOf(deps.db, nameOf(principal, given));
    if (versions.length === 0) throw new Problem('not_found', 'No such key.');
    return { status: 200, body: { versions } };
  },
});

const listRoute = route({
  method: 'get',
  path: '/api/sources/{source}/state',
  operationId: 'listSourceState',
  tag: 'Sources',
  summary: 'List the keys of a source',
  description: 'In the order of their code points, without their values.',
  access,
  params: z.object({ source: externalId }),
  query: z.strictObject({
    prefix: storableText(256).default('').meta({ description: 'Only keys that begin with it.' }),
    limit: pageLimit,
    cursor: pageCursor(1400),
  }),
  answers: {
    200: {
      description: 'A page.',
      schema: z.object({ states: z.array(stateSummary), next_cursor: z.string().nullable() }),
    },
  },
  handle: async ({ deps, principal, params: { source }, query: { prefix, limit, cursor } }) => {
    const count = Number(limit);
    const after = cursor === undefined ? null : keyOfCursor(cursor);
    const name = { tenantId: principal.tenantId, source };
    const found = await listStates(deps.db, name, { prefix, after, limit: count + 1 });
    const states = found.slice(0, count);
    const next = found.length > count ? Buffer.from(states.at(-1)!.key).toString('base64url') : null;
    return { status: 200, body: { states, next_cursor: next } };
  },
});

function keyOfCursor(cursor: string): string {
  const key = externalId.safeParse(Buffer.from(cursor, 'base64url').toString('utf8'));
  if (key.success) return key.data;
  throw new Problem('request.invalid', 'The cursor is none that this service has given.', {
    errors: [{ pointer: '/query/cursor', detail: 'is not a cursor of this list' }],
  });
}

/** Routes of source state. */
export const sourceStateRoutes = [listRoute, getRoute, putRoute, deleteRoute, versionsRoute];
