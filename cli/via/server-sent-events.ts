/** One event of a stream of server-sent events. */
export interface ServerSentEvent {
  event: string;
  /** Where to go on behind it; empty when it says nothing of it. */
  id: string;
  data: string;
}

/** More than the longest event of ours has. */
const MAX_PENDING_CHARS = 4 * 1024 * 1024;

/** Reads a stream of server-sent events. A last one that was cut off is left out. Ends, or fails, with the stream. */
export async function* serverSentEvents(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent, void, void> {
  const decoder = new TextDecoder();
  let pending = '';
  for await (const chunk of bytes) {
    pending += decoder.decode(chunk, { stream: true });
    const blocks = pending.split('\n\n');
    pending = blocks.pop()!;
    if (pending.length > MAX_PENDING_CHARS) throw new Error('an event is too long');
    for (const block of blocks) {
      const event = eventOf(block);
      if (event.data !== '') yield event;
    }
  }
}

function eventOf(block: string): ServerSentEvent {
  const event: ServerSentEvent = { event: 'message', id: '', data: '' };
  for (const line of block.split('\n')) {
    const match = /^(event|id|data): ?(.*)$/.exec(line);
    if (match) event[match[1] as keyof ServerSentEvent] = match[2]!;
  }
  return event;
}
