import { FINDINGS, type Finding, type FindingCode } from '../domain/finding';

/** Of one code, more are counted only: a broken ledger may have millions. */
const MAX_SHOWN = 100;

/** What a check found, for people as it comes, or as one JSON object at the end. */
export class FindingsOutput {
  private readonly counts = new Map<FindingCode, number>();
  private readonly kept: Finding[] = [];

  constructor(
    private readonly json: boolean,
    /** Notices count as disagreements. */
    private readonly strict: boolean,
  ) {}

  readonly report = (finding: Finding): void => {
    const count = (this.counts.get(finding.code) ?? 0) + 1;
    this.counts.set(finding.code, count);
    if (count > MAX_SHOWN) return;
    if (this.json) this.kept.push(finding);
    else console.log(line(finding));
  };

  /** Prints the end. True when something disagrees. */
  finish(checked: Record<string, unknown>): boolean {
    const total = (kind: 'disagreement' | 'notice'): number =>
      [...this.counts].reduce((sum, [code, count]) => sum + (FINDINGS[code] === kind ? count : 0), 0);
    const disagreements = total('disagreement');
    const notices = total('notice');
    const bad = disagreements > 0 || (this.strict && notices > 0);
    if (this.json) {
      const counts = Object.fromEntries(this.counts);
      const findings = this.kept.map((finding) => ({ severity: FINDINGS[finding.code], ...finding }));
      console.log(JSON.stringify({ ok: !bad, disagreements, notices, checked, counts, findings }));
      return bad;
    }
    for (const [code, count] of this.counts) if (count > MAX_SHOWN) console.log(`${code}: ${count - MAX_SHOWN} more`);
    const facts = Object.entries(checked).map(([name, value]) => `${name.replaceAll('_', ' ')}: ${String(value)}`);
    console.log(`${bad ? 'FAIL' : 'ok'}  ${disagreements} disagreements, ${notices} notices (${facts.join(', ')})`);
    return bad;
  }
}

function line({ code, message, chain, position, workload_id, file, line: number }: Finding): string {
  const where = [
    file,
    number === undefined ? undefined : `line ${number}`,
    workload_id,
    chain === undefined ? undefined : `chain ${chain}`,
    position === undefined ? undefined : `position ${position}`,
  ];
  const known = where.filter((each) => each !== undefined).join(', ');
  return `${FINDINGS[code] === 'notice' ? 'notice  ' : 'DISAGREE'}  ${code}  ${known === '' ? '' : `${known}: `}${message}`;
}

/** Tells on stderr how far a long check is, about every two seconds. */
export class ProgressLine {
  private readonly began = performance.now();
  private told = this.began;
  private count = 0;

  constructor(private readonly what: string) {}

  readonly add = (count: number): void => {
    this.count += count;
    const now = performance.now();
    if (now - this.told < 2_000) return;
    this.told = now;
    console.error(`${this.what}: ${this.count} (${Math.round((this.count * 1000) / (now - this.began))}/s)`);
  };
}
