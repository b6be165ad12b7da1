import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { verifyTemporal } from '../../activities/verify-temporal';
import { parseAnchor, type Anchor } from '../../domain/audit-chain';
import type { CheckedFile } from '../../domain/audit-file-check';
import type { Finding, Report } from '../../domain/finding';
import { checkAuditFile } from '../../ledger/audit-file-reader';
import { chainsOf } from '../../ledger/audit-seal';
import type { Database, Queryable } from '../../ledger/database';
import { openSnapshot } from '../../ledger/snapshot';
import { archivedSegments, verifyChain, verifySealing } from '../../ledger/verify/chains';
import { verifyStories } from '../../ledger/verify/stories';
import { temporalClient } from '../../workers/temporal-connection';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { FindingsOutput, ProgressLine } from '../findings-output';
import { withLedger } from '../ledger-access';
import { temporalOf } from '../temporal-access';

/** Arguments of `verify`. */
export interface VerifyArguments {
  anchor: string[];
  archives?: string;
  temporal: boolean;
  strict?: boolean;
  json?: boolean;
}

/** `workloadd verify`: the ledger, or files without it. Fails when something disagrees. */
export async function runVerify(config: ConfigOf<'verify'>, files: string[], args: VerifyArguments): Promise<void> {
  const anchors = args.anchor.map(anchorOf);
  const output = new FindingsOutput(args.json ?? false, args.strict ?? false);
  if (anchors.length === 0)
    output.report({
      code: 'anchor.none',
      message: 'no --anchor: a chain that was rewritten as a whole would not be noticed',
    });
  const checked =
    files.length > 0
      ? await verifyFiles(files, anchors, output.report)
      : await withLedger(config, (db) => verifyLedger(db, config, args, anchors, output.report));
  if (output.finish(checked)) throw new CommandFailed('the check found disagreements');
}

function anchorOf(text: string): Anchor {
  const anchor = parseAnchor(text);
  if (anchor) return anchor;
  throw new CommandFailed(`--anchor ${text} is not <chain>:<position>:<hash>, as \`audit heads\` gives it`, EXIT.usage);
}

async function verifyLedger(
  db: Database,
  config: ConfigOf<'verify'>,
  args: VerifyArguments,
  anchors: readonly Anchor[],
  report: Report,
): Promise<Record<string, unknown>> {
  const snapshot = await openSnapshot(db, { idleMs: 600_000, statementMs: 0 });
  const checked: Record<string, number> = {};
  try {
    const chains = await chainsOf(snapshot);
    const rows = new ProgressLine('audit rows');
    checked['chains'] = chains.length;
    checked['audit_rows'] = 0;
    for (const chain of chains) {
      const archived = args.archives ? await verifyArchives(snapshot, chain, args.archives, anchors, report) : 0;
      const left = anchors.filter((anchor) => anchor.chain !== chain || anchor.position > archived);
      checked['audit_rows'] += await verifyChain(snapshot, chain, left, report, rows.add);
    }
    for (const { chain, position } of anchors.filter((anchor) => !chains.includes(anchor.chain)))
      report({ code: 'anchor.beyond_end', message: 'there is no such chain', chain, position });
    checked['not_sealed_yet'] = await verifySealing(snapshot, report);
    checked['workloads'] = await verifyStories(snapshot, report, new ProgressLine('workloads').add);
  } finally {
    await snapshot.close();
  }
  if (args.temporal) checked['runs'] = await checkTemporal(db, config, report);
  return checked;
}

async function checkTemporal(db: Queryable, config: ConfigOf<'verify'>, report: Report): Promise<number> {
  const temporal = temporalClient(temporalOf(config));
  try {
    if (await temporal.ready()) {
      const { client } = temporal;
      return await verifyTemporal({ db, client, report, progress: new ProgressLine('workflow runs').add });
    }
    report({
      code: 'temporal.unreachable',
      message: 'Temporal does not answer: see TEMPORAL_ADDRESS, or give --no-temporal',
    });
    return 0;
  } finally {
    await temporal.close();
  }
}

/** The files that the ledger says hold its archived rows. Returns the last position that is in one, 0 without any. */
async function verifyArchives(
  db: Queryable,
  chain: string,
  folder: string,
  anchors: readonly Anchor[],
  report: Report,
): Promise<number> {
  let end = 0;
  for (const { file, sha256, first, last, lastHash } of await archivedSegments(db, chain)) {
    end = last;
    const target = path.join(folder, file);
    const found = await stat(target).catch(() => null);
    const told: Report = (finding) => report({ ...finding, file });
    if (!found) {
      told({
        code: 'archive.file_missing',
        message: `positions ${first} to ${last} are in this file, which is not in ${folder}`,
        chain,
      });
      continue;
    }
    if (!(await sha256Of(target)).equals(sha256))
      told({ code: 'archive.file_changed', message: 'the file is not the one that was written', chain });
    const own = anchors.filter(
      (anchor) => anchor.chain === chain && anchor.position >= first && anchor.position <= last,
    );
    const checked = await checkAuditFile(target, own, told);
    if (checked.last?.hash !== lastHash.toString('hex'))
      told({
        code: 'archive.file_changed',
        message: 'its last hash is not the one that the ledger goes on from',
        chain,
      });
  }
  return end;
}

async function sha256Of(file: string): Promise<Buffer> {
  const digest = createHash('sha256');
  await pipeline(createReadStream(file), digest);
  return digest.digest();
}

async function verifyFiles(
  given: readonly string[],
  anchors: readonly Anchor[],
  report: Report,
): Promise<Record<string, unknown>> {
  const files = (await Promise.all(given.map(filesOf))).flat();
  const stretches: (CheckedFile & { file: string })[] = [];
  const missed = new Map<Anchor, number>();
  for (const file of files) {
    const told: Report = (finding: Finding) => {
      const anchor = anchors.find((each) => each.chain === finding.chain && each.position === finding.position);
      // Told at the end, if no file has it.
      if (finding.code === 'anchor.not_covered' && anchor) missed.set(anchor, (missed.get(anchor) ?? 0) + 1);
      else report({ ...finding, file });
    };
    stretches.push({ ...(await checkAuditFile(file, anchors, told)), file });
  }
  for (const [{ chain, position }, times] of missed)
    if (times === files.length)
      report({
        code: 'anchor.not_covered',
        message: 'no file has this position, so the anchor was not checked',
        chain,
        position,
      });
  checkJoints(stretches, report);
  const sum = (count: (each: CheckedFile) => number): number => stretches.reduce((all, each) => all + count(each), 0);
  return { files: files.length, audit_rows: sum(({ rows }) => rows), not_sealed_yet: sum(({ unsealed }) => unsealed) };
}

async function filesOf(given: string): Promise<string[]> {
  const found = await stat(given).catch(() => null);
  if (!found) throw new CommandFailed(`there is no file ${given}`, EXIT.usage);
  if (!found.isDirectory()) return [given];
  const names = (await readdir(given)).filter((name) => /\.ndjson(\.gz)?$/.test(name));
  return names.map((name) => path.join(given, name));
}

/** Files of one chain, in the order of their positions, must go on from each other. */
function checkJoints(files: readonly (CheckedFile & { file: string })[], report: Report): void {
  const sealed = files.filter(({ first, last }) => first && last);
  sealed.sort((a, b) => (a.chain ?? '').localeCompare(b.chain ?? '') || a.first!.position - b.first!.position);
  for (const [index, next] of sealed.entries()) {
    const before = sealed[index - 1];
    const { chain, file } = next;
    if (!before || before.chain !== chain) {
      if (next.first!.position > 1)
        report({
          code: 'archive.not_checked',
          message: `it begins at position ${next.first!.position}: what was before is not checked; its hash there is ${chain}:${next.first!.position - 1}:${next.first!.prevHash}`,
          ...(chain !== null && { chain }),
          file,
        });
      continue;
    }
    const joins = before.last!.position === next.first!.position - 1 && before.last!.hash === next.first!.prevHash;
    if (!joins && before.last!.position < next.first!.position)
      report({
        code: 'archive.gap',
        message: `it does not go on from ${before.file}`,
        ...(chain !== null && { chain }),
        file,
      });
  }
}
