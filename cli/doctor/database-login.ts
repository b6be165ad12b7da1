import { randomBytes } from 'node:crypto';
import pg from 'pg';

const TIMEOUT_MS = 5_000;

/**
 * Why others on this host could log in to the ledger's database without a password; null when they could not. It tries, and each try
 * fails or is closed at once: with a user that does not exist, and with the ledger's user and a wrong password.
 */
export async function openLogin(connection: pg.ClientConfig): Promise<string | null> {
  const wrong = randomBytes(12).toString('hex');
  const stranger = await tryLogin({ ...connection, user: `workloadd_doctor_${wrong.slice(0, 8)}`, password: wrong });
  if (stranger === 'in' || /does not exist/.test(stranger)) {
    return 'its server lets every user of this host in without a password (`trust` in pg_hba.conf): use scram-sha-256, or peer on its socket';
  }
  const isSocket = (connection.host ?? '').startsWith('/');
  // On a socket the server may know us by our user id (`peer`), which the agent's user cannot have.
  if (!isSocket && (await tryLogin({ ...connection, password: wrong })) === 'in') {
    return `it lets ${connection.user ?? 'its user'} in without asking for the password: use scram-sha-256 in pg_hba.conf`;
  }
  return null;
}

/** `in`, or why not, in the server's words; empty when it does not answer. */
async function tryLogin(connection: pg.ClientConfig): Promise<string> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: TIMEOUT_MS });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return 'in';
  } catch (error) {
    return error instanceof pg.DatabaseError ? error.message : '';
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** A database URL as its parts, so that one of them can be replaced. */
export function partsOf(url: string): pg.ClientConfig {
  const { host, port, user, password, database, ssl } = new pg.Client(url);
  return {
    host,
    port,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    ssl,
  };
}
