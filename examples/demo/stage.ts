import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from './api-client';
import type { Child } from './child-process';
import { agentScriptOf, type ExampleEvent } from './example-event';
import { KeptOpenCrow } from './kept-opencrow';
import { Service, stopService } from './service';

/** Everything that runs for the demo, in a folder of its own below the system's temporary one. */
export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'workloadd-demo-'));
  #service: Service | null = null;
  #serviceProcess: Child | null = null;
  #openCrow: KeptOpenCrow | null = null;
  #closed = false;

  constructor(private readonly note: (text: string) => void) {
    // As root, Postgres runs under another account, which has to get to its files.
    chmodSync(this.folder, 0o711);
  }

  /** Starts OpenCrow and the service. */
  async start(examples: readonly ExampleEvent[], policyFile: string): Promise<Service> {
    const sessionDir = join(this.folder, 'opencrow');
    mkdirSync(sessionDir, { mode: 0o700 });
    const lifecycleSocket = join(sessionDir, 'lifecycle.sock');
    if (this.#closed) throw new Error('stopped');
    this.#openCrow = new KeptOpenCrow({
      sessionDir,
      lifecycleSocket,
      script: agentScriptOf(examples),
      logFile: join(this.folder, 'opencrow.log'),
      onRestart: (how) => this.note(`OpenCrow had ended (${how}) and was started again`),
    });
    const service = Service.start(
      {
        dataDir: this.#dataDir,
        policyFile,
        triggerPipe: join(sessionDir, 'trigger.pipe'),
        lifecycleSocket,
        logFile: this.#serviceLog,
        onWords: this.note,
      },
      (child) => (this.#serviceProcess = child),
    );
    [this.#service] = await Promise.all([service, this.#openCrow.start()]);
    return this.#service;
  }

  /** Rejects when something that must run has ended; before everything is up, never. */
  async brokenDown(): Promise<never> {
    if (!this.#service || !this.#openCrow) return new Promise(() => undefined);
    const service = this.#service.ended.then((how) => {
      throw new Error(`\`workloadd up\` ended by itself (${how})`);
    });
    return Promise.race([service, this.#openCrow.failed]);
  }

  get api(): ApiClient {
    return new ApiClient(this.#service!.apiUrl, this.#service!.readToken());
  }

  killOpenCrow(): void {
    this.#openCrow?.kill();
  }

  /** What the service complained of last, for people who wonder why it failed. */
  complaints(): string[] {
    try {
      const lines = readFileSync(this.#serviceLog, 'utf8').trim().split('\n');
      return lines.filter((line) => !/^\{"level":"(trace|debug|info)"/.test(line)).slice(-15);
    } catch {
      return [];
    }
  }

  /** Stops everything in order and removes the folder. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([
      stopService(this.#serviceProcess, this.#dataDir).catch((error: unknown) => this.note(String(error))),
      this.#openCrow?.stop(),
    ]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #dataDir(): string {
    const folder = join(this.folder, 'data');
    mkdirSync(folder, { recursive: true, mode: 0o711 });
    return folder;
  }

  get #serviceLog(): string {
    return join(this.folder, 'workloadd.log');
  }
}
