import type { Database, Queryable } from './database';

/** The views of docs/audit.md. Nothing else begins with `audit_` and is a view. */
const VIEWS = `SELECT c.oid, c.relname FROM pg_class c
  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'v' AND c.relname LIKE 'audit\\_%'`;

/** What a role may do in the ledger's schema besides reading the views, one sentence each. */
const EXCESS = `
  WITH views AS (${VIEWS}), role AS (SELECT * FROM pg_roles WHERE rolname = $1)
  SELECT 'is a superuser' AS excess FROM role WHERE rolsuper
  UNION ALL SELECT 'belongs to the owner of the ledger' WHERE $1 <> current_user AND pg_has_role($1, current_user, 'MEMBER')
  UNION ALL SELECT 'is the owner of the ledger' WHERE $1 = current_user
  UNION ALL SELECT 'may make objects in schema ' || current_schema() WHERE has_schema_privilege($1, current_schema(), 'CREATE')
  UNION ALL
  SELECT 'has ' || string_agg(wish, ', ') || ' on ' || c.relname
  FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) wish
  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT (wish = 'SELECT' AND c.oid IN (SELECT oid FROM views))
    AND CASE WHEN wish IN ('SELECT', 'INSERT', 'UPDATE') THEN has_any_column_privilege($1, c.oid, wish)
      ELSE has_table_privilege($1, c.oid, wish) END
  GROUP BY c.relname
  UNION ALL
  SELECT 'may use the sequence ' || c.relname FROM pg_class c
  WHERE c.relnamespace = current_schema()::regnamespace
    AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege($1, c.oid, 'USAGE, UPDATE') ELSE false END
  UNION ALL
  -- A function that runs with its caller's rights can do no more than the caller.
  SELECT 'may call ' || p.proname || ' with its owner''s rights' FROM pg_proc p
  WHERE p.pronamespace = current_schema()::regnamespace AND p.prosecdef AND has_function_privilege($1, p.oid, 'EXECUTE')`;

/** What came of {@link grantReader}. */
export interface GrantedReader {
  /** The role was made; it has no password yet. */
  made: boolean;
  schema: string;
  views: string[];
}

/**
 * Lets a role of the database server read the views of docs/audit.md, and nothing else; makes it if there is none and the ledger's user may make
 * roles. Then it looks what the role may do: if that is more, nothing is granted. Harmless when repeated; needed again after an update
 * that brings views. Fails with what to do.
 */
export async function grantReader(db: Database, role: string, actor: string): Promise<GrantedReader> {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(role) || role.startsWith('pg_'))
    throw new Error(`${JSON.stringify(role)} is no name for a role`);
  return db.transaction(async (tx) => {
    const made = await makeRole(tx, role);
    const [place] = await tx.query<{ schema: string }>('SELECT quote_ident(current_schema()) AS schema');
    const { schema } = place!;
    const views = (await tx.query<{ relname: string }>(`${VIEWS} ORDER BY 2`)).map((row) => row.relname);
    await tx.query(`GRANT USAGE ON SCHEMA ${schema} TO ${role}`);
    await tx.query(`GRANT SELECT ON ${views.join(', ')} TO ${role}`);
    const excess = await tx.query<{ excess: string }>(EXCESS, [role]);
    if (excess.length > 0) {
      throw new Error(
        `role ${role} ${excess.map((row) => row.excess).join('; ')}: nothing was granted, take that away first`,
      );
    }
    await tx.query(
      `INSERT INTO audit (type, actor, detail) VALUES ('audit.reader_granted', $1, jsonb_build_object('role', $2::text, 'made', $3::boolean))`,
      [actor, role, made],
    );
    return { made, schema, views };
  });
}

/** True when it was made. */
async function makeRole(tx: Queryable, role: string): Promise<boolean> {
  const [known] = await tx.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [role]);
  if (known) return false;
  const [may] = await tx.query('SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)');
  if (!may) {
    throw new Error(
      `there is no role ${role}, and the ledger's user may not make roles: have CREATE ROLE ${role} LOGIN run by one who may, then repeat this`,
    );
  }
  await tx.query(`CREATE ROLE ${role} LOGIN CONNECTION LIMIT 10`);
  await tx.query(`ALTER ROLE ${role} SET default_transaction_read_only = on`);
  await tx.query(`ALTER ROLE ${role} SET statement_timeout = '5min'`);
  return true;
}
