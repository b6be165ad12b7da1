import { chmod, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { beginSealPass, sealBatch } from '../ledger/audit-seal';
import { listAudit, type AuditFilter } from '../ledger/audit-list';
import { Database } from '../ledger/database';
import { removeEmbeddedPostgres, startEmbeddedPostgres } from '../ledger/embedded-postgres';
import { migrate } from '../ledger/migrate';
import { openSnapshot } from '../ledger/snapshot';
import { verifyChain } from '../ledger/verify/chains';
import { round, sampleOf } from './measure';

const FILL = `
INSERT INTO audit (tenant_id, workload_id, at, type, actor, detail)
SELECT 'default', 'wl_' || (n / 10), now() - ($1::int - n) * interval '1 second',
  (ARRAY['event.accepted', 'workload.queued', 'lease.claimed', 'workload.delivered', 'workload.running', 'workload.completed'])[n % 6 + 1],
  'worker:w' || n % 50, jsonb_build_object('reason', 'executor_completed', 'delivery', 1, 'event', 'opencrow:1:' || n)
FROM generate_series(1, $1::int) n`;

const FILTERS: Record<string, Partial<AuditFilter>> = {
  newest: {},
  'exact type': { type: 'workload.completed' },
  'rare type': { type: 'token.created' },
  prefix: { type: 'workload.' },
  actor: { actor: 'worker:w7' },
  workload: { workload: 'wl_77' },
  'source that is not there': { source: 'none' },
};

/** Seals and verifies one chain of `rows` rows on a Postgres of its own, and times the list's filters over it. */
export async function benchVerify(rows: number, log: (text: string) => void): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'workloadd-bench-'));
  // So that a Postgres that root starts as another user keeps its files inside.
  await chmod(folder, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir: folder, announce: log });
  const db = new Database({ connection: { ...postgres.connection, query_timeout: 0, statement_timeout: 0 } });
  const lines: string[] = [];
  try {
    await migrate(db);
    log(`writing ${rows} rows`);
    await db.query(FILL, [rows]);
    await db.query('ANALYZE');
    const sealing = await timed(async () => {
      const pass = await beginSealPass(db);
      while ((await sealBatch(db, pass, 2_000)).outcome === 'more');
    });
    lines.push(`seal         ${perSecond(rows, sealing)} rows/s`);
    const snapshot = await openSnapshot(db, { idleMs: 60_000, statementMs: 0 });
    let [least, most] = [Infinity, 0];
    const faults: string[] = [];
    const verifying = await timed(() =>
      verifyChain(
        snapshot,
        'default',
        [],
        ({ code }) => void faults.push(code),
        () => {
          const { rss } = process.memoryUsage();
          least = Math.min(least, rss);
          most = Math.max(most, rss);
        },
      ),
    );
    await snapshot.close();
    if (faults.length > 0) throw new Error(`verify found ${faults[0]}`);
    const grown = round((most - least) / 2 ** 20, 0);
    lines.push(
      `verify       ${perSecond(rows, verifying)} rows/s, memory grew by ${grown} MiB (goal 20000 rows/s, flat)`,
    );
    for (const [name, filter] of Object.entries(FILTERS)) {
      const durations: number[] = [];
      for (let turn = 0; turn < 20; turn += 1)
        durations.push(
          await timed(() => listAudit(db, { tenantId: 'default', order: 'newest', ...filter }, { limit: 50 })),
        );
      lines.push(`list ${name.padEnd(25)} p50 ${sampleOf(durations).p50} ms`);
    }
    return lines.join('\n');
  } finally {
    await db.close();
    await removeEmbeddedPostgres(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

const perSecond = (rows: number, ms: number): number => Math.round((rows * 1000) / ms);

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
