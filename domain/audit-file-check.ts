import type { Anchor } from './audit-chain';
import { AUDIT_FILE_FORMAT, type AuditFileHeader, type AuditFileTrailer } from './audit-file';
import { ChainWalk } from './chain-walk';
import type { Finding, FindingCode, Report } from './finding';

/** What a checked file holds. */
export interface CheckedFile {
  chain: string | null;
  /** First position with its hash before it, and the last; null without sealed rows. */
  first: { position: number; prevHash: string | null } | null;
  last: { position: number; hash: string } | null;
  rows: number;
  unsealed: number;
}

const LINE = /^\{"position":(null|[1-9]\d{0,15}),"hash":(?:null|"([0-9a-f]{64})"),"row":/;
/** Longer than what stands before a row. */
const HEAD_BYTES = 160;

/** Checks a file of {@link AUDIT_FILE_FORMAT}, line by line, without the ledger. */
export class AuditFileCheck {
  private line = 0;
  private header: AuditFileHeader | null = null;
  private trailer: AuditFileTrailer | null = null;
  private walk: ChainWalk | null = null;
  private rows = 0;
  private sealed = 0;
  private unsealed = 0;
  private given = 0;

  constructor(
    private readonly anchors: readonly Anchor[],
    private readonly report: Report,
  ) {}

  /** Takes a line without its line break. False: what follows makes no sense any more. */
  next(bytes: Buffer): boolean {
    this.line += 1;
    if (this.trailer) return this.tell('file.malformed', 'there is something after the last line');
    if (this.header === null) return this.first(bytes);
    if (bytes.subarray(0, 11).equals(TRAILER)) return this.end(bytes);
    return this.row(bytes);
  }

  /** After the last line. `whole`: the file ended with a line break. */
  finish(whole: boolean): CheckedFile {
    const left = this.walk?.finish() ?? this.anchors;
    if (this.line === 0) this.report({ code: 'file.truncated', message: 'the file is empty' });
    if (this.header && !this.trailer) {
      const cut = whole ? 'there is no last line with the number of rows' : 'the last line is cut off';
      this.tell('file.truncated', `${cut}: the file ends at line ${this.line} and rows may be missing`);
    }
    for (const anchor of left) {
      this.report({
        code: 'anchor.not_covered',
        message: `position ${anchor.position} is not in this file, so the anchor was not checked`,
        chain: anchor.chain,
        position: anchor.position,
      });
    }
    const lastHash = this.walk?.lastHash?.toString('hex');
    return {
      chain: this.header?.chain ?? null,
      first: this.sealed > 0 ? { position: this.header!.first_position!, prevHash: this.header!.prev_hash } : null,
      last: this.sealed > 0 && lastHash ? { position: this.walk!.last, hash: lastHash } : null,
      rows: this.rows,
      unsealed: this.unsealed,
    };
  }

  private first(bytes: Buffer): boolean {
    const { header } = (parse(bytes) ?? {}) as { header?: AuditFileHeader };
    if (header?.format !== AUDIT_FILE_FORMAT || typeof header.chain !== 'string')
      return this.tell('file.malformed', `the first line is not that of "${AUDIT_FILE_FORMAT}"`);
    this.header = header;
    if (header.first_position !== null) {
      const hash = /^[0-9a-f]{64}$/.test(header.prev_hash ?? '') ? Buffer.from(header.prev_hash!, 'hex') : null;
      const start = { position: header.first_position - 1, hash };
      this.walk = new ChainWalk(header.chain, start, this.anchors, (finding) => this.report(finding));
    }
    return true;
  }

  private row(bytes: Buffer): boolean {
    const head = LINE.exec(bytes.toString('latin1', 0, HEAD_BYTES));
    if (!head || bytes.at(-1) !== 0x7d) return this.tell('file.malformed', 'this is no line of an audit file');
    this.rows += 1;
    const row = bytes.subarray(head[0].length, -1);
    const chain = `{"v":1,"chain":${JSON.stringify(this.header!.chain)},`;
    if (head[1] === 'null' || head[2] === undefined) {
      this.unsealed += 1;
      return true;
    }
    this.sealed += 1;
    const gone = row.toString('latin1', 0, 4) === 'null';
    if (!gone && row.toString('utf8', 0, Buffer.byteLength(chain)) !== chain)
      this.tell('chain.row_changed', 'the row is not of this chain');
    if (!this.walk) return this.tell('file.malformed', 'there are sealed rows, and the first line names no position');
    const hash = Buffer.from(head[2], 'hex');
    this.walk.next({ position: Number(head[1]), hash, canonical: gone ? null : row, line: this.line });
    return true;
  }

  private end(bytes: Buffer): boolean {
    const { trailer } = (parse(bytes) ?? {}) as { trailer?: AuditFileTrailer };
    if (!trailer) return this.tell('file.malformed', 'the last line cannot be read');
    this.trailer = trailer;
    if (!trailer.complete)
      this.tell('file.incomplete', `the export ended early (${trailer.reason ?? 'no reason given'}): rows are missing`);
    const differs = trailer.rows !== this.rows || trailer.unsealed !== this.unsealed;
    if (differs) {
      const said = `${trailer.rows} rows, ${trailer.unsealed} of them unsealed`;
      this.tell('file.trailer_mismatch', `the last line says ${said}; there are ${this.rows} and ${this.unsealed}`);
    }
    const hash = this.sealed > 0 ? (this.walk?.lastHash?.toString('hex') ?? null) : null;
    if (!differs && trailer.last_hash !== hash)
      this.tell('file.trailer_mismatch', 'the last hash is not the one that the last line gives');
    return true;
  }

  private tell(code: FindingCode, message: string): boolean {
    this.given += 1;
    const finding: Finding = { code, message, line: this.line };
    this.report(this.header ? { ...finding, chain: this.header.chain } : finding);
    return code !== 'file.malformed' || (this.header !== null && this.given < 100);
  }
}

const TRAILER = Buffer.from('{"trailer":');

function parse(bytes: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
