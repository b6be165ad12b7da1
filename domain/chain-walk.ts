import { sealHash, type Anchor } from './audit-chain';
import type { Report } from './finding';

/** One place of a chain as it is stored. */
export interface WalkedSeal {
  position: number;
  hash: Buffer;
  /** Null when the row of this place is gone. */
  canonical: string | Uint8Array | null;
  seq?: string;
  line?: number;
}

interface Gap {
  first: number;
  last: number;
  line: number | undefined;
  filled: boolean;
}

const MAX_GAPS = 1000;

/**
 * Goes along a chain and says where it is broken. After a fault it goes on from the hash that is stored there, so that each fault
 * is told once.
 */
export class ChainWalk {
  private readonly gaps: Gap[] = [];
  private readonly anchors: Map<number, string>;
  private expected: number;
  /** Null while the hash before is not known. */
  private prev: Buffer | null;

  /** Begins after `start`; its hash is checked against an anchor there too. */
  constructor(
    private readonly chain: string,
    start: { position: number; hash: Buffer | null },
    anchors: readonly Anchor[],
    private readonly report: Report,
  ) {
    this.expected = start.position + 1;
    this.prev = start.hash;
    this.anchors = new Map(anchors.filter((each) => each.chain === chain).map((each) => [each.position, each.hash]));
    if (start.hash) this.checkAnchor(start.position, start.hash);
  }

  /** Position of the last place that was gone along. */
  get last(): number {
    return this.expected - 1;
  }

  get lastHash(): Buffer | null {
    return this.prev;
  }

  next(seal: WalkedSeal): void {
    const { position, hash, canonical, seq, line } = seal;
    if (position < this.expected) {
      this.outOfOrder(position, line);
      return;
    }
    if (position > this.expected) {
      if (this.gaps.length < MAX_GAPS)
        this.gaps.push({ first: this.expected, last: position - 1, line, filled: false });
      this.prev = null;
    }
    const at = { chain: this.chain, position, ...(seq && { seq }), ...(line && { line }) };
    if (canonical === null) {
      this.report({
        code: 'chain.row_missing',
        message: `the row of position ${position} is gone; its seal is there`,
        ...at,
      });
    } else if (this.prev !== null && !sealHash(this.prev, canonical).equals(hash)) {
      this.report({
        code: 'chain.row_changed',
        message: `the row at position ${position} (or a hash there) is not what was sealed`,
        ...at,
      });
    }
    this.checkAnchor(position, hash);
    this.prev = hash;
    this.expected = position + 1;
  }

  /** Tells what can be told only at the end. Anchors that were not met are returned. */
  finish(): Anchor[] {
    for (const { first, last, line, filled } of this.gaps) {
      const which = first === last ? `position ${first} is` : `positions ${first} to ${last} are`;
      this.report(
        filled
          ? {
              code: 'chain.out_of_order',
              message: `rows are in another order from position ${first} on`,
              chain: this.chain,
              position: first,
              ...(line && { line }),
            }
          : {
              code: 'chain.rows_missing',
              message: `${which} missing`,
              chain: this.chain,
              position: first,
              ...(line && { line }),
            },
      );
    }
    return [...this.anchors].map(([position, hash]) => ({ chain: this.chain, position, hash }));
  }

  private outOfOrder(position: number, line: number | undefined): void {
    const gap = this.gaps.find((each) => position >= each.first && position <= each.last);
    if (gap) gap.filled = true;
    else
      this.report({
        code: 'chain.out_of_order',
        message: `position ${position} is there again`,
        chain: this.chain,
        position,
        ...(line && { line }),
      });
  }

  private checkAnchor(position: number, hash: Buffer): void {
    const noted = this.anchors.get(position);
    if (noted === undefined) return;
    this.anchors.delete(position);
    if (noted === hash.toString('hex')) return;
    this.report({
      code: 'anchor.mismatch',
      message: `the hash at position ${position} is not the one that was noted outside: the chain up to here was rewritten`,
      chain: this.chain,
      position,
    });
  }
}
