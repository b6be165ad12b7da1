import { z } from 'zod';
import { auditEntry } from '../../contracts/audit';
import { externalId, slug, workloadId } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import { WORKLOAD_STATES } from '../../contracts/terminology';
import { SERVICE_CHAIN } from '../../domain/audit-chain';
import { csv, ndjson } from '../../domain/audit-file';
import { exportAudit } from '../../ledger/audit-export';
import { listAudit } from '../../ledger/audit-list';
import { openSnapshot } from '../../ledger/snapshot';
import type { TokenPrincipal } from '../../ledger/tokens';
import { exportSlot } from '../export-slots';
import { pageCursor, pageLimit } from '../fields';
import { instant } from '../instant';
import { route, StreamedBody } from '../route';

const since = instant.optional().meta({ description: 'At this time or later.' });
const until = instant.optional().meta({ description: 'Before this time.' });
const chain = z.enum(['tenant', 'service']).default('tenant').meta({
  description:
    '`tenant`: the rows of the token’s tenant. `service`: those of no tenant (workers, credentials); needs `operator`.',
});

/** The name of the chain a caller may read. */
function chainOf(principal: TokenPrincipal, asked: 'tenant' | 'service'): string {
  if (asked === 'tenant') return principal.tenantId;
  if (principal.scopes.includes('operator')) return SERVICE_CHAIN;
  throw new Problem('auth.scope_required', 'Rows of no tenant need the scope operator.', {
    extra: { scopes: ['operator'] },
  });
}

const listRoute = route({
  method: 'get',
  path: '/api/audit',
  operationId: 'listAudit',
  tag: 'Audit',
  summary: 'List what happened, newest first',
  description:
    'Filters narrow. A cursor goes on in the list it was given for; with another filter it is 422. `source`, `rule` and `outcome` are those of the row’s workload, `outcome` as it stands now.',
  access: { kind: 'token', scopes: ['audit:read'] },
  query: z.strictObject({
    since,
    until,
    type: z
      .string()
      .max(100)
      .regex(/^[a-z0-9_.]+$/, 'must be a type such as workload.lost, or the beginning of one up to a dot')
      .optional()
      .meta({ description: 'A type, for example `workload.lost`, or with a dot at its end all that begin so.' }),
    actor: externalId.optional(),
    workload: workloadId.optional(),
    source: externalId.optional(),
    rule: slug.optional(),
    outcome: z.enum(WORKLOAD_STATES).optional(),
    chain,
    order: z.enum(['newest', 'oldest']).default('newest').meta({ description: 'Which come first.' }),
    limit: pageLimit,
    cursor: pageCursor(200),
  }),
  answers: {
    200: {
      description: 'A page.',
      schema: z.object({ entries: z.array(auditEntry), next_cursor: z.string().nullable() }),
    },
  },
  handle: async ({ deps, principal, query }) => {
    const { limit, cursor, chain: asked, ...filter } = query;
    const name = chainOf(principal, asked);
    const tenantId = name === SERVICE_CHAIN ? null : name;
    const page = await listAudit(deps.db, { ...filter, tenantId }, { limit: Number(limit), cursor });
    return { status: 200, body: { entries: page.entries, next_cursor: page.nextCursor } };
  },
});

/** Longer than a caller may be silent, see {@link StreamedBody}. */
const IDLE_MS = 120_000;
const STATEMENT_MS = 30_000;

const exportRoute = route({
  method: 'get',
  path: '/api/audit/export',
  operationId: 'exportAudit',
  tag: 'Audit',
  summary: 'The audit of a time as a file',
  description:
    'Streamed, of one moment. The stretch of the hash chain that holds the time is not cut, so at its ends there may be rows from outside; then what is not sealed yet. The last line has `complete`, the number of rows and the last hash: without it the file was cut off. `workloadd verify FILE` checks an `ndjson` file.',
  access: { kind: 'token', scopes: ['audit:read'] },
  query: z.strictObject({ format: z.enum(['ndjson', 'csv']).default('ndjson'), since, until, chain }),
  answers: { 200: { description: 'The rows.', mediaType: 'application/x-ndjson' } },
  problems: ['capacity.exports'],
  handle: async ({ deps, principal, query }) => {
    const name = chainOf(principal, query.chain);
    const writer = query.format === 'csv' ? csv : ndjson;
    const file = `audit-${name === SERVICE_CHAIN ? 'service' : name}.${query.format}`;
    const free = exportSlot(deps.db);
    const snapshot = await openSnapshot(deps.db, { idleMs: IDLE_MS, statementMs: STATEMENT_MS }).catch(
      (error: unknown) => {
        free();
        throw error;
      },
    );
    const stopReason = (): string | null => (deps.readiness.isDraining ? 'shutting_down' : null);
    return {
      status: 200,
      body: new StreamedBody(
        exportAudit(snapshot, { chain: name, since: query.since, until: query.until, writer, stopReason }),
        () => snapshot.close().finally(free),
      ),
      mediaType: writer.mediaType,
      headers: { 'Content-Disposition': `attachment; filename="${file}"` },
    };
  },
});

/** Routes of the audit. */
export const auditRoutes = [listRoute, exportRoute];
