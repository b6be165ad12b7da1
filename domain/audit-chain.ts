import { hash } from 'node:crypto';

/** The chain of rows that belong to no tenant. No tenant can have this name. */
export const SERVICE_CHAIN = '-';

/** What the first row of a chain is hashed with: 32 zero bytes. */
export const GENESIS = Buffer.alloc(32);

/** An audit row as it is hashed. `seq`, `at` and `detail` are texts, so that nothing is rounded or put in another order. */
export interface ChainedRow {
  chain: string;
  seq: string;
  /** UTC with microseconds: `2026-01-31T09:30:00.123456Z`. */
  at: string;
  type: string;
  actor: string;
  workload_id: string | null;
  /** JSON as Postgres writes `jsonb`. */
  detail: string;
}

const text = (value: string): string => JSON.stringify(value);

/** The bytes a row is hashed by: JSON on one line, these keys in this order, no spaces outside of `detail`. */
export function canonicalRow(row: ChainedRow): string {
  const workloadId = row.workload_id === null ? 'null' : text(row.workload_id);
  return (
    `{"v":1,"chain":${text(row.chain)},"seq":${row.seq},"at":"${row.at}","type":${text(row.type)},` +
    `"actor":${text(row.actor)},"workload_id":${workloadId},"detail":${row.detail}}`
  );
}

/** A row's hash in its chain: SHA-256 over the hash before it and the row's canonical bytes. */
export function sealHash(prev: Uint8Array, canonical: string | Uint8Array): Buffer {
  return Buffer.from(hash('sha256', Buffer.concat([prev, Buffer.from(canonical as string)]), 'hex'), 'hex');
}

/** A place in a chain whose hash was noted outside of the ledger. */
export interface Anchor {
  chain: string;
  position: number;
  /** Lower-case hex. */
  hash: string;
}

/** `<chain>:<position>:<hash>`; null for anything else. */
export function parseAnchor(value: string): Anchor | null {
  const match = /^([^:\s]+):([1-9][0-9]{0,14}):([0-9a-f]{64})$/.exec(value);
  return match && { chain: match[1]!, position: Number(match[2]), hash: match[3]! };
}

/** The inverse of {@link parseAnchor}. */
export const formatAnchor = ({ chain, position, hash: value }: Anchor): string => `${chain}:${position}:${value}`;
