import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { execFileSync } from 'node:child_process';
import { ndjson } from '../../domain/audit-file';
import type { ConfigOf } from '../../cli/config';
import { runVerify } from '../../cli/commands/verify';
import { Secret } from '../../contracts/secret';
import { formatAnchor, type Anchor } from '../../domain/audit-chain';
import type { Finding } from '../../domain/finding';
import { archiveChain } from '../../ledger/audit-archive';
import { exportAudit } from '../../ledger/audit-export';
import { checkAuditFile } from '../../ledger/audit-file-reader';
import { anchorsOf, findingsOf, sealAll, tamper } from '../support/audit';
import { FreshLedger } from '../support/fresh-ledger';
import { temporaryFolder } from '../support/temporary-folder';

let ledger: FreshLedger;
let lines: string[];
let anchors: Anchor[];
const folder = temporaryFolder();
beforeAll(async () => {
  ledger = await FreshLedger.open();
  for (let index = 0; index < 5; index += 1) await ledger.accept({ data: { text: 'ünï "x"\n' } });
  await sealAll(ledger.db);
  anchors = (await anchorsOf(ledger.db)).filter(({ chain }) => chain === 'default');
  await ledger.accept();
  let text = '';
  for await (const piece of exportAudit(ledger.db, { chain: 'default', writer: ndjson })) text += piece;
  lines = text.split('\n').slice(0, -1);
});
afterAll(() => ledger.close());

let files = 0;
async function check(text: string | Buffer, noted: Anchor[] = []): Promise<Finding[]> {
  files += 1;
  const file = path.join(folder, `${files}.ndjson`);
  writeFileSync(file, text);
  const findings: Finding[] = [];
  await checkAuditFile(file, noted, (finding) => void findings.push(finding));
  return findings;
}
const text = (changed: string[]): string => `${changed.join('\n')}\n`;
const found = async (changed: string[]) => (await check(text(changed))).map(({ code, line }) => [code, line]);

test('an export is what the ledger sealed', async () => {
  expect(await check(text(lines), anchors)).toEqual([]);
  expect(await check(lines.join('\n'))).toEqual([]);
});

test('each fault is named with the first line that shows it', async () => {
  const edited = lines.with(3, lines[3]!.replace('event.accepted', 'event.accepte_'));
  expect(await found(edited)).toEqual([['chain.row_changed', 4]]);
  const swapped = lines.with(3, lines[4]!).with(4, lines[3]!);
  expect(await found(swapped)).toEqual([['chain.out_of_order', 4]]);
  expect(await found(lines.toSpliced(3, 1))).toEqual([
    ['file.trailer_mismatch', lines.length - 1],
    ['chain.rows_missing', 4],
  ]);
  expect(await found(lines.toSpliced(3, 0, lines[3]!))).toContainEqual(['chain.out_of_order', 5]);
  expect(await found(lines.slice(0, -1))).toEqual([['file.truncated', lines.length - 1]]);
  expect(await found([...lines, lines[1]!])).toContainEqual(['file.malformed', lines.length + 1]);
  expect(await found(lines.slice(1))).toEqual([['file.malformed', 1]]);
  expect((await check(text(lines).slice(0, -30))).map(({ code }) => code)).toEqual(['file.truncated']);
  expect((await check(text(lines).slice(0, 400))).map(({ code }) => code)).toEqual(['file.truncated']);
  expect((await check('')).map(({ code }) => code)).toEqual(['file.truncated']);
});

test('an anchor is compared where the file has its position, and told where it has not', async () => {
  const [anchor] = anchors;
  expect(await check(text(lines), [{ ...anchor!, hash: '0'.repeat(64) }])).toMatchObject([{ code: 'anchor.mismatch' }]);
  expect(await check(text(lines), [{ ...anchor!, position: 999 }])).toMatchObject([{ code: 'anchor.not_covered' }]);
});

test('the checker of the documentation comes to the same end', () => {
  const script = path.resolve(__dirname, '../../examples/check-audit.py');
  const run = (name: string, content: string): string => {
    const file = path.join(folder, name);
    writeFileSync(file, content);
    try {
      return execFileSync('python3', [script, file], { encoding: 'utf8' });
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  };
  const head = `${anchors[0]!.chain}:${anchors[0]!.position}:${anchors[0]!.hash}`;
  expect(run('whole.ndjson', text(lines))).toContain(head);
  expect(run('edited.ndjson', text(lines.with(3, lines[3]!.replace('event.', 'evint.'))))).toContain('line 4');
  expect(run('cut.ndjson', text(lines.slice(0, -1)))).toContain('cut off');
});

test('old rows go into files that are checked, and the chain goes on from them', async () => {
  const before = await findingsOf(ledger.db, anchors);
  expect(before).toEqual([]);
  await sealAll(ledger.db);
  const to = path.join(folder, 'archive');
  const options = { chain: 'default', olderThanMs: 0, folder: to, actor: 'test', segmentRows: 4 };
  expect(await archiveChain(ledger.db, { ...options, olderThanMs: 3_600_000 })).toEqual([]);
  const archived = await archiveChain(ledger.db, options);
  expect(archived.map(({ first, last }) => [first, last]).slice(0, 2)).toEqual([
    [1, 4],
    [5, 7],
  ]);
  const file = path.join(to, archived[0]!.file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await check(gunzipSync(readFileSync(file)))).toEqual([]);
  const findings: Finding[] = [];
  await checkAuditFile(file, [], (finding) => void findings.push(finding));
  expect(findings).toEqual([]);
  expect(await ledger.db.query("SELECT 1 FROM audit WHERE tenant_id = 'default' AND type <> 'audit.archived'")).toEqual(
    [],
  );
  await ledger.accept();
  await sealAll(ledger.db);
  expect(await findingsOf(ledger.db)).toEqual([]);
  await expect(ledger.db.query('DELETE FROM audit')).rejects.toThrow('P0001');
  expect(await archiveChain(ledger.db, { ...options, segmentRows: 1_000 })).toHaveLength(1);
  expect(await findingsOf(ledger.db)).toEqual([]);
});

test('an anchor in an archive file is met there', async () => {
  const config = { databaseUrl: () => new Secret(ledger.schema.url) } as ConfigOf<'verify'>;
  const printed: string[] = [];
  const log = jest.spyOn(console, 'log').mockImplementation((line: string) => void printed.push(line));
  const anchor = anchors.map(formatAnchor);
  try {
    await runVerify(config, [], { anchor, archives: path.join(folder, 'archive'), temporal: false, json: true });
    await runVerify(config, [], { anchor, temporal: false, json: true });
  } finally {
    log.mockRestore();
  }
  const codes = printed.map((line) => (JSON.parse(line) as { findings: Finding[] }).findings.map(({ code }) => code));
  expect(codes).toEqual([[], ['anchor.not_covered']]);
});

test('what is not what was sealed is not archived', async () => {
  await ledger.accept();
  await sealAll(ledger.db);
  await tamper(ledger.schema, "UPDATE audit SET actor = 'x' WHERE seq = (SELECT max(seq) FROM audit_seals)");
  const options = { chain: 'default', olderThanMs: 0, folder: path.join(folder, 'broken'), actor: 'test' };
  await expect(archiveChain(ledger.db, options)).rejects.toThrow('chain.row_changed');
  expect(await ledger.db.query("SELECT 1 FROM audit WHERE actor = 'x'")).toHaveLength(1);
});
