import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AuditEntry } from '../contracts/audit';
import { Problem } from '../contracts/problems';
import type { WorkloadState } from '../contracts/terminology';
import type { Queryable } from './database';
import { isTimeText } from './list-cursor';

/** Which audit rows to list; every field narrows. */
export interface AuditFilter {
  /** Null: the rows that belong to no tenant. */
  tenantId: string | null;
  since?: string | undefined;
  until?: string | undefined;
  /** A type, or the beginning of types: `workload.` with its dot. */
  type?: string | undefined;
  actor?: string | undefined;
  workload?: string | undefined;
  /** Of workloads from this source, by this rule, or that are in this state now. */
  source?: string | undefined;
  rule?: string | undefined;
  outcome?: WorkloadState | undefined;
  order: 'newest' | 'oldest';
}

/** A page of audit rows. */
export interface AuditPage {
  entries: AuditEntry[];
  /** Where the next page begins; null on the last one. */
  nextCursor: string | null;
}

interface Stored {
  seq: string;
  at: string;
  type: string;
  actor: string;
  workload_id: string | null;
  detail: Record<string, unknown>;
  position: string | null;
  hash: string | null;
}

/**
 * Lists audit rows by (at, seq), which never change. A row whose transaction ends late appears at its time, so whoever follows
 * the newest rows should look some seconds back. A cursor of another filter is `request.invalid`.
 */
export async function listAudit(
  db: Queryable,
  filter: AuditFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<AuditPage> {
  const { conditions, values } = conditionsOf(filter);
  if (page.cursor !== undefined) {
    const [at, seq] = decode(page.cursor, filter);
    const compare = filter.order === 'newest' ? '<' : '>';
    conditions.push(`(a.at, a.seq) ${compare} ($${values.push(at)}::timestamptz, $${values.push(seq)}::bigint)`);
  }
  const direction = filter.order === 'newest' ? 'DESC' : 'ASC';
  const rows = await db.query<Stored>(
    `SELECT a.seq, to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, a.type, a.actor, a.workload_id, a.detail,
       s.position, encode(s.hash, 'hex') AS hash
     FROM (SELECT * FROM audit a WHERE ${conditions.join(' AND ')}
           ORDER BY a.at ${direction}, a.seq ${direction} LIMIT $${values.push(page.limit + 1)}) a
     LEFT JOIN audit_seals s ON s.seq = a.seq ORDER BY a.at ${direction}, a.seq ${direction}`,
    values,
  );
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  return {
    entries: shown.map(entryOf),
    nextCursor: rows.length > page.limit && last ? encode(last, filter) : null,
  };
}

/** Only what is asked for, so that each shape of filter gets a plan of its own. */
function conditionsOf(filter: AuditFilter): { conditions: string[]; values: unknown[] } {
  const values: unknown[] = [];
  const conditions: string[] = [];
  const when = (value: unknown, condition: (parameter: string) => string): void => {
    if (value !== undefined) conditions.push(condition(`$${values.push(value)}`));
  };
  if (filter.tenantId === null) conditions.push('a.tenant_id IS NULL');
  else when(filter.tenantId, (p) => `a.tenant_id = ${p}`);
  when(filter.since, (p) => `a.at >= ${p}::timestamptz`);
  when(filter.until, (p) => `a.at < ${p}::timestamptz`);
  if (filter.type?.endsWith('.')) {
    // Up to the type that would follow: "/" is the character after ".".
    when(filter.type, (p) => `a.type COLLATE "C" >= ${p}`);
    when(`${filter.type.slice(0, -1)}/`, (p) => `a.type COLLATE "C" < ${p}`);
  } else {
    when(filter.type, (p) => `a.type COLLATE "C" = ${p}`);
  }
  when(filter.actor, (p) => `a.actor = ${p}`);
  when(filter.workload, (p) => `a.workload_id = ${p}`);
  const ofWorkload: string[] = [];
  const whenWorkload = (value: unknown, column: string): void => {
    if (value !== undefined) ofWorkload.push(`w.${column} = $${values.push(value)}`);
  };
  whenWorkload(filter.source, 'source');
  whenWorkload(filter.rule, 'rule_id');
  whenWorkload(filter.outcome, 'state');
  if (ofWorkload.length > 0) {
    const own = filter.tenantId === null ? 'w.tenant_id IS NULL' : 'w.tenant_id = $1';
    conditions.push(
      `a.workload_id IN (SELECT w.workload_id FROM workloads w WHERE ${[own, ...ofWorkload].join(' AND ')})`,
    );
  }
  return { conditions, values };
}

const entryOf = (row: Stored): AuditEntry => ({
  seq: Number(row.seq),
  at: row.at,
  type: row.type,
  actor: row.actor,
  workload_id: row.workload_id,
  detail: row.detail,
  sealed: row.position === null ? null : { position: Number(row.position), hash: row.hash! },
});

const cursorParts = z.tuple([
  z.string().regex(/^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
  z.string().regex(/^[1-9]\d{0,17}$/),
  z.string(),
]);

/** A cursor goes on in one list only: it carries a hash of what was asked for. */
const fingerprint = (filter: AuditFilter): string => {
  const { tenantId, since, until, type, actor, workload, source, rule, outcome, order } = filter;
  const asked = [tenantId, since, until, type, actor, workload, source, rule, outcome, order].map(
    (each) => each ?? null,
  );
  return createHash('sha256').update(JSON.stringify(asked)).digest('base64url').slice(0, 16);
};

const encode = (row: Stored, filter: AuditFilter): string =>
  Buffer.from(JSON.stringify([row.at, row.seq, fingerprint(filter)])).toString('base64url');

function decode(text: string, filter: AuditFilter): [at: string, seq: string] {
  const parts = cursorParts.safeParse(parseJson(Buffer.from(text, 'base64url').toString('utf8')));
  if (!parts.success || !isTimeText(parts.data[0])) throw refused('is not a cursor of this list');
  if (parts.data[2] !== fingerprint(filter)) throw refused('belongs to another filter');
  return [parts.data[0], parts.data[1]];
}

const refused = (detail: string): Problem =>
  new Problem('request.invalid', 'The cursor does not go on here.', { errors: [{ pointer: '/query/cursor', detail }] });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
