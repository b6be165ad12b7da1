import { OUTPUT_STREAMS, type OutputStream } from '../../contracts/artifacts';
import { outputStanding, type OutputStanding } from '../../ledger/artifacts';
import type { Queryable } from '../../ledger/database';
import type { OutputNews } from './output-news';
import type { ArtifactStore } from './store';
import { wholeCharacters } from './utf8';

export interface FollowOptions {
  db: Queryable;
  store: ArtifactStore;
  news: OutputNews;
  tenantId: string;
  workloadId: string;
  /** Null: the newest one, or the first one when there is none yet. */
  delivery: number | null;
  /** Where an earlier answer stopped. */
  after: OutputPosition | null;
  /** Go on while the command runs, or until it has begun. */
  follow: boolean;
  /** This process stops: end soon. */
  stopping: () => boolean;
}

/** How far the output of a delivery was sent, as the `id` of an event says it. */
export type OutputPosition = { delivery: number } & Record<OutputStream, number>;

const LOOK_MS = 1_000;
const TICK_MS = 250;
const KEEP_ALIVE_MS = 15_000;
/** Then the caller has to come again, and show its token. */
const MAX_FOLLOW_MS = 15 * 60_000;
const PIECE_BYTES = 64 * 1024;

const idOf = ({ delivery, stdout, stderr }: OutputPosition): string => `${delivery}.${stdout}.${stderr}`;

/** The inverse of an event's id; null for anything else. */
export function positionOf(id: string): OutputPosition | null {
  const match = /^(\d{1,6})\.(\d{1,9})\.(\d{1,9})$/.exec(id);
  return match && { delivery: Number(match[1]), stdout: Number(match[2]), stderr: Number(match[3]) };
}

/**
 * Server-sent events of what a delivery prints: `stdout` and `stderr` with `{offset, text}`, then `end` with `{state}` when the delivery has
 * ended and all was sent. Text is decoded across the pieces it came in. The ledger is asked once a second; what is appended in this process
 * is heard of at once.
 */
export async function* followOutput(options: FollowOptions, first: OutputStanding): AsyncGenerator<string, void, void> {
  const { news, workloadId, tenantId, follow, db } = options;
  let standing = first;
  let lookedAt = performance.now();
  const until = lookedAt + MAX_FOLLOW_MS;
  let position = startOf(options, standing);
  let quietSince = performance.now();
  const listener = new Listener(news);
  yield 'retry: 1000\n\n';
  try {
    for (;;) {
      if (standing.delivery > 0) {
        if (standing.delivery !== position.delivery) position = startOf(options, standing);
        listener.hear({ workloadId, delivery: standing.delivery });
        const sizes = listener.newest(standing.sizes);
        for (const stream of OUTPUT_STREAMS) {
          for await (const text of newEvents(options, position, stream, sizes[stream] ?? 0, standing.ended)) {
            yield text;
            quietSince = performance.now();
          }
        }
      }
      if (standing.ended) {
        yield `event: end\nid: ${idOf(position)}\ndata: ${JSON.stringify({ state: standing.state })}\n\n`;
        return;
      }
      if (!follow || options.stopping() || performance.now() > until) return;
      if (performance.now() - quietSince > KEEP_ALIVE_MS) {
        yield ': nothing new\n\n';
        quietSince = performance.now();
      }
      await listener.wait(TICK_MS);
      if (performance.now() - lookedAt < LOOK_MS) continue;
      const asked = standing.delivery > 0 ? standing.delivery : options.delivery;
      standing = (await outputStanding(db, tenantId, workloadId, asked)) ?? standing;
      lookedAt = performance.now();
    }
  } finally {
    listener.stop();
  }
}

const startOf = ({ after }: FollowOptions, { delivery }: OutputStanding): OutputPosition =>
  after?.delivery === delivery ? { ...after } : { delivery, stdout: 0, stderr: 0 };

/** What is there of a stream behind the position, as events; moves the position on. */
async function* newEvents(
  { store, workloadId }: FollowOptions,
  position: OutputPosition,
  stream: OutputStream,
  size: number,
  last: boolean,
): AsyncGenerator<string, void, void> {
  const key = { workloadId, delivery: position.delivery, name: stream };
  while (position[stream] < size) {
    const offset = position[stream];
    const bytes = await bytesOf(store.read(key, offset, Math.min(offset + PIECE_BYTES, size)));
    const isEnd = last && offset + bytes.length === size;
    const length = isEnd ? bytes.length : wholeCharacters(bytes);
    if (length === 0) return;
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, length));
    position[stream] += length;
    yield `event: ${stream}\nid: ${idOf(position)}\ndata: ${JSON.stringify({ offset, text })}\n\n`;
  }
}

async function bytesOf(read: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of read) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Hears of what is committed in this process, and wakes who waits for it. */
class Listener {
  private heard: OutputStanding['sizes'] = {};
  private topic: string | null = null;
  private off: () => void = () => undefined;
  private wake: () => void = () => undefined;

  constructor(private readonly news: OutputNews) {}

  hear(delivery: { workloadId: string; delivery: number }): void {
    const topic = `${delivery.workloadId}/${delivery.delivery}`;
    if (this.topic === topic) return;
    this.off();
    this.topic = topic;
    this.heard = {};
    this.off = this.news.listen(delivery, ({ name, size }) => {
      this.heard[name as OutputStream] = size;
      this.wake();
    });
  }

  newest(sizes: OutputStanding['sizes']): OutputStanding['sizes'] {
    const newer = { ...sizes };
    for (const stream of OUTPUT_STREAMS) {
      const size = Math.max(sizes[stream] ?? 0, this.heard[stream] ?? 0);
      if (size > 0) newer[stream] = size;
    }
    return newer;
  }

  async wait(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  stop(): void {
    this.off();
  }
}
