import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Knows which connections have a request under way. Node's own notion of idle leaves out connections that have not sent
 * anything yet, which would hold up a stop until its deadline.
 */
export class Connections {
  private readonly requests = new Map<Socket, number>();
  private closing = false;

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      this.requests.set(socket, 0);
      socket.once('close', () => this.requests.delete(socket));
    });
    server.on('request', ({ socket }, response) => {
      this.count(socket, 1);
      response.once('close', () => {
        this.count(socket, -1);
        if (this.closing) this.closeIfUnused(socket);
      });
    });
  }

  /** Closes every connection without a request, and each other one after its request. */
  closeUnused(): void {
    this.closing = true;
    for (const socket of this.requests.keys()) this.closeIfUnused(socket);
  }

  private count(socket: Socket, change: 1 | -1): void {
    const known = this.requests.get(socket);
    if (known !== undefined) this.requests.set(socket, known + change);
  }

  private closeIfUnused(socket: Socket): void {
    // Not destroyed: the end of an answer may still be on its way.
    if (this.requests.get(socket) === 0) socket.destroySoon();
  }
}
