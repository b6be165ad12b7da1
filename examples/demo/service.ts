import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeEmbeddedPostgres } from '../../ledger/embedded-postgres';
import { stopTemporalDevServer } from '../../workers/temporal-dev-server';
import { Child } from './child-process';

const WORKLOADD = join(__dirname, '..', '..', '..', 'bin', 'workloadd.js');
/** More than `up` takes for itself before it ends by force. */
const STOP_WITHIN_MS = 80_000;
/** The first start on a machine may have to build Temporal's dev server. */
const START_WITHIN_MS = 15 * 60_000;

export interface ServiceOptions {
  dataDir: string;
  policyFile: string;
  triggerPipe: string;
  lifecycleSocket: string;
  logFile: string;
  /** Told what `up` says before it is up: downloads, builds, takeovers. */
  onWords: (line: string) => void;
}

/** `workloadd up` in a process of its own, as anybody would start it. */
export class Service {
  private constructor(
    private readonly child: Child,
    private readonly options: ServiceOptions,
    readonly apiUrl: string,
    /** Address of Temporal's Web UI. */
    readonly temporalUiUrl: string,
  ) {}

  /** Resolves when everything is up. `onChild` is told of the process before that, so that it can be stopped meanwhile. */
  static async start(options: ServiceOptions, onChild: (child: Child) => void): Promise<Service> {
    let greeted = false;
    const urlOf = new Map<string, string>();
    let found: (urls: [string, string]) => void = () => undefined;
    const urls = new Promise<[string, string]>((resolve) => (found = resolve));
    const child = Child.start({
      args: [WORKLOADD, 'up', ...flags(options)],
      env: ownEnvironment(process.env),
      logFile: options.logFile,
      onWords: options.onWords,
      onLine: (line) => {
        greeted ||= / is up\b/.test(line);
        if (!greeted) return options.onWords(line);
        const [, name, url] = /^\s+(API|Web UI)\s+(http\S+)/.exec(line) ?? [];
        if (name !== undefined && url !== undefined) urlOf.set(name, url);
        const [api, ui] = [urlOf.get('API'), urlOf.get('Web UI')];
        if (api !== undefined && ui !== undefined) found([api, ui]);
      },
    });
    onChild(child);
    const result = await Promise.race([urls, child.ended, sleep(START_WITHIN_MS, null, { ref: false })]);
    if (result === null) throw new Error('`workloadd up` has not said within 15 minutes that it is up');
    if (typeof result === 'string') throw new Error(`\`workloadd up\` ended before it was up (${result})`);
    return new Service(child, options, ...result);
  }

  /** File with the admin token. */
  get tokenFile(): string {
    return join(this.options.dataDir, 'admin.token');
  }

  readToken(): string {
    return readFileSync(this.tokenFile, 'utf8').trim();
  }

  /** Resolves with how the process ended. */
  get ended(): Promise<string> {
    return this.child.ended;
  }
}

/** Stops `up` in order, and whatever it may have left behind when it could not be. */
export async function stopService(child: Child | null, dataDir: string): Promise<void> {
  await child?.stop(STOP_WITHIN_MS);
  await stopTemporalDevServer(dataDir);
  await removeEmbeddedPostgres(dataDir);
}

function flags({ dataDir, policyFile, triggerPipe, lifecycleSocket }: ServiceOptions): string[] {
  return [
    ...['--data-dir', dataDir, '--policy', policyFile, '--listen', '127.0.0.1:0'],
    ...['--trigger-pipe', triggerPipe, '--lifecycle-socket', lifecycleSocket],
    // Minutes outside a demo: a lost delivery makes OpenCrow suspect, and the next one waits this long.
    ...['--suspect-backoff', '1s', '--shutdown-grace', '10s', '--log-level', 'info', '--log-format', 'json'],
  ];
}

/** The environment without what would lead `up` to somebody else's servers. */
function ownEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = /^WORKLOADD_(TEMPORAL_CLI|POSTGRES_USER)$/;
  const foreign = /^(WORKLOADD_|TEMPORAL_|DATABASE_URL|PG[A-Z]+$)/;
  return Object.fromEntries(Object.entries(env).filter(([name]) => kept.test(name) || !foreign.test(name)));
}
