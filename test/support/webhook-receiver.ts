import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** One request that came in. */
export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** How a request is answered: a status, with headers, or not at all. */
export type Reply = number | { status: number; headers?: Record<string, string> } | 'silence';

/** A real HTTP server on loopback that keeps what it gets. */
export interface WebhookReceiver {
  /** `127.0.0.1:<port>` */
  host: string;
  url(path?: string): string;
  received: Received[];
  /** Answers of the next requests, in order; then 200. */
  replies: Reply[];
  close(): Promise<void>;
}

export async function startReceiver(): Promise<WebhookReceiver> {
  const received: Received[] = [];
  const replies: Reply[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() });
      const reply = replies.shift() ?? 200;
      if (reply === 'silence') return;
      const { status, headers = {} } = typeof reply === 'number' ? { status: reply } : reply;
      response.writeHead(status, headers).end('{}');
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    url: (path = '/hook') => `http://${host}${path}`,
    received,
    replies,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
