import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { findProcesses, stopProcess } from '../../ledger/background-process';
import { removeEmbeddedPostgres, startEmbeddedPostgres } from '../../ledger/embedded-postgres';
import type { EmbeddedPostgres } from '../../ledger/embedded-postgres';
import { openDataDir } from '../../workers/data-dir-lock';
import type { DataDir } from '../../workers/data-dir-lock';
import { startTemporalDevServer, stopTemporalDevServer } from '../../workers/temporal-dev-server';
import type { TemporalDevServer } from '../../workers/temporal-dev-server';
import { makeLedgerTemplate } from './fresh-schema';

/** Not below a folder that only root may enter, and short enough for Unix sockets. */
const RUNS = path.join(os.tmpdir(), `workloadd-test-${process.getuid?.() ?? 0}`);

/** The servers of one jest run. */
export interface TestServers {
  dataDir: DataDir;
  postgres: EmbeddedPostgres;
  temporal: TemporalDevServer;
}

/** Starts one Postgres and one Temporal dev server in a new folder, after clearing away what killed runs left. */
export async function startTestServers(): Promise<TestServers> {
  mkdirSync(RUNS, { recursive: true, mode: 0o711 });
  await removeAbandonedRuns();
  const dataDir = await openDataDir(path.join(RUNS, `${process.pid}-${randomBytes(2).toString('hex')}`));
  const announce = (message: string): void => console.log(message);
  const [postgres, temporal] = await Promise.all([
    // Tests kill processes, not the machine: its page cache keeps what Postgres has written.
    startEmbeddedPostgres({ dataDir: dataDir.path, announce, settings: { fsync: 'off' } }),
    startTemporalDevServer({
      dataDir: dataDir.path,
      announce,
      inMemory: true,
      searchAttributes: Object.values(SEARCH_ATTRIBUTES),
      extraArgs: [
        // Otherwise each timer takes about a second.
        ...['--dynamic-config-value', 'history.timerProcessorMaxTimeShift="10ms"'],
        // Otherwise no test comes to a continue-as-new. A whole workload has at most 30 events.
        ...['--dynamic-config-value', 'limit.historyCount.suggestContinueAsNew=200'],
      ],
    }),
  ]);
  await makeLedgerTemplate(postgres.url);
  return { dataDir, postgres, temporal };
}

/** Stops the servers and deletes their folder. */
export async function stopTestServers({ dataDir, postgres, temporal }: TestServers): Promise<void> {
  await Promise.all([postgres.stop(), temporal.stop()]);
  await removeEmbeddedPostgres(dataDir.path);
  rmSync(dataDir.path, { recursive: true, force: true });
  await dataDir.release();
}

/** All that a killed run has started has a path below its folder, or the ports written there, among its arguments. */
async function removeAbandonedRuns(): Promise<void> {
  for (const name of readdirSync(RUNS)) {
    const dataDir = await openDataDir(path.join(RUNS, name)).catch(() => null);
    if (!dataDir) continue;
    await stopTemporalDevServer(dataDir.path, true);
    const left = findProcesses((args) => args.some((arg) => arg.includes(`${dataDir.path}/`)));
    await Promise.all(left.map((pid) => stopProcess(pid, [{ signal: 'SIGKILL', waitMs: 5000 }])));
    await removeEmbeddedPostgres(dataDir.path);
    rmSync(dataDir.path, { recursive: true, force: true });
    await dataDir.release();
  }
}
