import type pg from 'pg';
import { Database, type Queryable } from '../ledger/database';

export interface Statement {
  text: string;
  values: readonly unknown[];
}

/** A ledger database that notes what is sent through it, BEGIN and COMMIT among it, while {@link recording} is asked for. */
export class RecordedDatabase extends Database {
  private sent: Statement[] | null = null;

  /** The statements of one piece of work, in order. */
  async recording(work: () => Promise<unknown>): Promise<Statement[]> {
    const sent: Statement[] = (this.sent = []);
    try {
      await work();
    } finally {
      this.sent = null;
    }
    return sent;
  }

  override async query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    this.sent?.push({ text, values });
    return super.query<Row>(text, values);
  }

  override async transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    const { sent } = this;
    sent?.push({ text: 'BEGIN', values: [] });
    const result = await super.transaction((tx) =>
      work({
        query: (text, values = []) => {
          sent?.push({ text, values });
          return tx.query(text, values);
        },
      }),
    );
    sent?.push({ text: 'COMMIT', values: [] });
    return result;
  }
}

/** Sends the statements again as they are, prepared once a connection, with some values put in the place of others. */
export async function sendAgain(
  pool: pg.Pool,
  statements: readonly Statement[],
  instead: ReadonlyMap<unknown, unknown> = new Map(),
): Promise<void> {
  const client = await pool.connect();
  try {
    for (const { text, values } of statements) {
      if (text === 'BEGIN' || text === 'COMMIT') await client.query(text);
      else await client.query({ name: nameOf(text), text, values: values.map((value) => replaced(value, instead)) });
    }
  } finally {
    client.release();
  }
}

const names = new Map<string, string>();
function nameOf(text: string): string {
  const known = names.get(text) ?? `again_${names.size}`;
  names.set(text, known);
  return known;
}

function replaced(value: unknown, instead: ReadonlyMap<unknown, unknown>): unknown {
  if (instead.has(value)) return instead.get(value);
  if (typeof value !== 'string') return value;
  return [...instead].reduce(
    (text, [from, to]) => (typeof from === 'string' ? text.replaceAll(from, String(to)) : text),
    value,
  );
}
