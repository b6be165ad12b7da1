import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { translated, type Database } from './database';

const FOLDER = path.join(__dirname, 'migrations');
/** Any constant will do; it is the advisory lock under which one process at a time migrates a schema. */
const LOCK = 7_706_681;

interface Applied {
  name: string;
  checksum: string;
}

/**
 * Brings the ledger's schema up to date: numbered SQL files, each in the one transaction, under an advisory lock.
 * Returns the names it applied. Fails when a file that was applied has changed since.
 */
export async function migrate(db: Database): Promise<string[]> {
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.sql')).sort();
  const scripts = await Promise.all(
    files.map(async (name) => {
      const sql = await readFile(path.join(FOLDER, name), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
  const client = await db.dedicated();
  // The statement under way fails with the connection, and tells.
  const noteLoss = (): void => undefined;
  client.on('error', noteLoss);
  let failed = true;
  try {
    await client.query('BEGIN');
    await client.query('SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))', [LOCK]);
    await client.query(
      'CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())',
    );
    const { rows } = await client.query<Applied>('SELECT name, checksum FROM migrations');
    const applied = new Map(rows.map((row) => [row.name, row.checksum]));
    const done: string[] = [];
    for (const { name, sql, checksum } of scripts) {
      const known = applied.get(name);
      if (known === checksum) continue;
      if (known !== undefined)
        throw new Error(`migration ${name} was applied with another content; restore the original file`);
      await client.query(sql);
      await client.query('INSERT INTO migrations (name, checksum) VALUES ($1, $2)', [name, checksum]);
      done.push(name);
    }
    await client.query('COMMIT');
    failed = false;
    return done;
  } catch (error) {
    throw translated(error);
  } finally {
    client.off('error', noteLoss);
    client.release(failed);
  }
}

/** The migrations that are missing in the database, for readiness and `doctor`. */
export async function pendingMigrations(db: Database): Promise<string[]> {
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.sql')).sort();
  const [table] = await db.query<{ present: boolean }>("SELECT to_regclass('migrations') IS NOT NULL AS present");
  if (!table?.present) return files;
  const rows = await db.query<{ name: string }>('SELECT name FROM migrations');
  const applied = new Set(rows.map((row) => row.name));
  return files.filter((name) => !applied.has(name));
}
