import { canonicalRow } from './audit-chain';
import type { ChainedRow } from './audit-chain';

/** First member of a file's first line: what it is. */
export const AUDIT_FILE_FORMAT = 'opencrow-workloadd audit 1';

/** The first line of an exported or archived stretch of a chain. */
export interface AuditFileHeader {
  format: typeof AUDIT_FILE_FORMAT;
  chain: string;
  since: string | null;
  until: string | null;
  /** Position of the first sealed row; null when there is none. */
  first_position: number | null;
  /** The hash that the first row's hash was made with, hex. */
  prev_hash: string | null;
}

/** The last line: a file without one was cut off. */
export interface AuditFileTrailer {
  /** False: the export ended before its time, by `reason`. */
  complete: boolean;
  reason?: string;
  /** Rows in the file, sealed or not. */
  rows: number;
  unsealed: number;
  last_position: number | null;
  last_hash: string | null;
}

/** A row of a file. `row` is null when the ledger has the seal and not the row. */
export interface AuditFileRow {
  position: string | null;
  /** Hex. */
  hash: string | null;
  row: ChainedRow | null;
}

/** How a stretch of a chain is written down. */
export interface AuditFileWriter {
  mediaType: string;
  header(header: AuditFileHeader): string;
  row(row: AuditFileRow): string;
  trailer(trailer: AuditFileTrailer): string;
}

/** One JSON object a line. What is hashed stands in each line byte for byte, after `"row":` and before the last `}`. */
export const ndjson: AuditFileWriter = {
  mediaType: 'application/x-ndjson',
  header: (header) => `${JSON.stringify({ header })}\n`,
  row: ({ position, hash, row }) =>
    `{"position":${position ?? 'null'},"hash":${hash === null ? 'null' : `"${hash}"`},"row":${row ? canonicalRow(row) : 'null'}}\n`,
  trailer: (trailer) => `${JSON.stringify({ trailer })}\n`,
};

const COLUMNS = ['position', 'hash', 'seq', 'at', 'type', 'actor', 'workload_id', 'detail'] as const;

/** For spreadsheets, with CRLF and quotes (RFC 4180). Its last record begins with `#end`. */
export const csv: AuditFileWriter = {
  mediaType: 'text/csv',
  header: () => `${COLUMNS.join(',')}\r\n`,
  row: ({ position, hash, row }) =>
    record([position, hash, row?.seq, row?.at, row?.type, row?.actor, row?.workload_id, row?.detail]),
  trailer: ({ complete, reason, rows, last_position, last_hash }) =>
    record(['#end', complete ? 'complete' : `incomplete: ${reason ?? 'unknown'}`, rows, last_position, last_hash]),
};

const record = (cells: readonly (string | number | null | undefined)[]): string => `${cells.map(cell).join(',')}\r\n`;

/** A spreadsheet runs a cell that begins like a formula, so such a text gets an apostrophe before it. */
function cell(value: string | number | null | undefined): string {
  if (value == null) return '';
  const text = String(value);
  const harmless = typeof value === 'string' && /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n']/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
