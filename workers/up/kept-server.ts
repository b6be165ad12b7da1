import type { Logger } from 'pino';
import { Backoff, pause } from '../../domain/backoff';

/** A server process of our own. */
export interface OwnServer {
  pid: number;
  /** Resolves when it ends without `stop`. */
  ended: Promise<void>;
  stop(): Promise<void>;
}

/** Keeps a server running: one that ends by itself is started again, at the same place. */
export class KeptServer<Server extends OwnServer> {
  private readonly stopping = new AbortController();
  private watching: Promise<void>;

  private constructor(
    private readonly name: string,
    private server: Server,
    private readonly launch: () => Promise<Server>,
    private readonly logger: Logger,
  ) {
    this.watching = this.watch();
  }

  /** Starts the server for the first time; fails when that fails. */
  static async start<Server extends OwnServer>(
    name: string,
    launch: () => Promise<Server>,
    logger: Logger,
  ): Promise<KeptServer<Server>> {
    return new KeptServer(name, await launch(), launch, logger);
  }

  /** The server as it runs now, or ran last. */
  get current(): Server {
    return this.server;
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.watching;
    await this.server.stop();
  }

  /** Asks the server to end, without waiting. */
  abandon(): void {
    this.stopping.abort();
    try {
      process.kill(this.server.pid, 'SIGINT');
    } catch {
      // It has ended already.
    }
  }

  private async watch(): Promise<void> {
    const { signal } = this.stopping;
    const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    const backoff = new Backoff(500, 30_000);
    for (;;) {
      await Promise.race([this.server.ended, stopped]);
      while (!signal.aborted) {
        this.logger.error({ server: this.name }, 'a server of ours ended by itself; starting it again');
        if (await this.relaunch()) break;
        await pause(backoff.next(), signal);
      }
      if (signal.aborted) return;
      backoff.reset();
    }
  }

  private async relaunch(): Promise<boolean> {
    try {
      this.server = await this.launch();
      return true;
    } catch (error) {
      this.logger.error({ server: this.name, err: error }, 'a server of ours cannot be started');
      return false;
    }
  }
}
