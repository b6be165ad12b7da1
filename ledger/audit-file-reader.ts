import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Anchor } from '../domain/audit-chain';
import { AuditFileCheck, type CheckedFile } from '../domain/audit-file-check';
import type { Report } from '../domain/finding';

const GZIP = Buffer.from([0x1f, 0x8b]);
/** No row is longer than this; what is, is no audit file. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/**
 * Checks an exported or archived file, plain or gzip, line by line with flat memory. A file that cannot be opened is an error; one
 * that ends in the middle is a finding.
 */
export async function checkAuditFile(file: string, anchors: readonly Anchor[], report: Report): Promise<CheckedFile> {
  const check = new AuditFileCheck(anchors, report);
  const gzip = await isGzip(file);
  const source = createReadStream(file, { highWaterMark: 256 * 1024 });
  const out = new PassThrough({ highWaterMark: 256 * 1024 });
  let cut: string | undefined;
  const reading = (gzip ? pipeline(source, createGunzip(), out) : pipeline(source, out)).catch((error: unknown) => {
    cut = (error as NodeJS.ErrnoException).code ?? 'unreadable';
  });
  const whole = await feed(out, check);
  out.destroy();
  await reading;
  return check.finish(whole && cut === undefined);
}

async function isGzip(file: string): Promise<boolean> {
  const handle = await open(file, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.equals(GZIP);
  } finally {
    await handle.close();
  }
}

/** False when the last line has no line break: it was cut off. */
async function feed(stream: Readable, check: AuditFileCheck): Promise<boolean> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      let from = 0;
      for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, from)) {
        if (!check.next(bytes.subarray(from, end))) return true;
        from = end + 1;
      }
      rest = bytes.subarray(from);
      if (rest.length > MAX_LINE_BYTES) return false;
    }
  } catch {
    // The end of the stream came too early; what was read counts.
    return false;
  }
  // Some editors take the last line break away.
  if (rest.at(-1) === 0x7d) return check.next(rest) || true;
  return rest.length === 0;
}
