import { existsSync, realpathSync } from 'node:fs';
import { commandLineOf, findProcesses, startInBackground, stopProcess, whenEnded } from '../ledger/background-process';
import { findTemporalBinary } from './temporal-dev-server/find-binary';
import { waitUntilServing } from './temporal-dev-server/readiness';
import {
  choosePorts,
  devServerArguments,
  devServerFiles,
  isDevServerOf,
  rememberedPorts,
} from './temporal-dev-server/settings';
import type { DevServerFiles, Ports } from './temporal-dev-server/settings';

export interface TemporalDevServerOptions {
  /** An existing folder for the database, the log and the chosen ports. The caller holds its lock. */
  dataDir: string;
  /** Keep everything in memory. Default false: histories survive restarts in `<data-dir>/temporal.db`. */
  inMemory?: boolean;
  /** gRPC port on 127.0.0.1. Default: the one used last on this data dir, or any free one. */
  port?: number | undefined;
  /** Port of the Web UI on 127.0.0.1. Default as for `port`. */
  uiPort?: number | undefined;
  /** Names of Keyword search attributes to register in the namespace `default`. Default none. */
  searchAttributes?: readonly string[];
  /** More arguments of `temporal server start-dev`, for example dynamic configuration. Default none. */
  extraArgs?: readonly string[];
  /** Path of the `temporal` program. Default: see `findTemporalBinary`. */
  binaryPath?: string | undefined;
  /** Told, in a sentence for people, what takes long or is unexpected. Default: nobody. */
  announce?: (message: string) => void;
}

/** A running Temporal dev server, with the namespace `default`. */
export interface TemporalDevServer {
  /** `127.0.0.1:<port>`, for clients and workers. */
  address: string;
  /** Address of the Web UI. */
  uiUrl: string;
  pid: number;
  /** Whether the server was left running by an earlier process and has been taken over. */
  adopted: boolean;
  /** Resolves when the server ends without {@link stop}. */
  ended: Promise<void>;
  /** Stops the server within about 15 s. Calling it again is harmless. */
  stop(): Promise<void>;
}

/**
 * Starts Temporal's dev server on a data dir, or takes over the one that a killed process left there. It listens on 127.0.0.1
 * only, on the same ports each time if they are free. Fails when the program cannot be found or fetched, a wanted port is
 * taken, or the server is not ready in time.
 */
export async function startTemporalDevServer(options: TemporalDevServerOptions): Promise<TemporalDevServer> {
  const announce = options.announce ?? (() => undefined);
  const files = devServerFiles(realpathSync(options.dataDir), options.inMemory ?? false);
  const orphan = await adopt(files, options, announce);
  if (orphan) return handleOf(orphan.pid, orphan.ports, true);
  const command = await findTemporalBinary({ configuredPath: options.binaryPath, announce });
  const ports = await choosePorts(files, wantedPorts(options));
  const args = argumentsFor(files, ports, options);
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], TZ: 'UTC' };
  const pid = await startInBackground({ command, args, env, logFile: files.log });
  await waitUntilServing(pid, addressOf(ports), options.searchAttributes ?? []).catch(async (error: unknown) => {
    await stopServer(pid);
    throw new Error(`Temporal's dev server did not start; its log is ${files.log}`, { cause: error });
  });
  return handleOf(pid, ports, false);
}

/** gRPC address of the dev server that runs on a data dir; null when none does. */
export function findTemporalDevServer(dataDir: string): string | null {
  if (!existsSync(dataDir)) return null;
  const files = devServerFiles(realpathSync(dataDir), false);
  const ports = rememberedPorts(files);
  return ports !== null && findProcesses((args) => isDevServerOf(files, args)).length > 0 ? addressOf(ports) : null;
}

/** Stops the dev server of a data dir, if one runs there. */
export async function stopTemporalDevServer(dataDir: string, inMemory = false): Promise<void> {
  const files = devServerFiles(realpathSync(dataDir), inMemory);
  await Promise.all(findProcesses((args) => isDevServerOf(files, args)).map(stopServer));
}

/** Takes over a server that still runs on the files if it is as we would start it; any other one of ours is stopped. */
async function adopt(
  files: DevServerFiles,
  options: TemporalDevServerOptions,
  announce: (message: string) => void,
): Promise<{ pid: number; ports: Ports } | null> {
  for (const pid of findProcesses((args) => isDevServerOf(files, args))) {
    const ports = { ...rememberedPorts(files), ...wantedPorts(options) };
    if (ports.port !== undefined && ports.uiPort !== undefined) {
      const complete = { port: ports.port, uiPort: ports.uiPort };
      if (await isUsable(pid, complete, argumentsFor(files, complete, options), options.searchAttributes ?? [])) {
        announce(`Took over Temporal's dev server (pid ${pid}) that an earlier workloadd left running.`);
        return { pid, ports: complete };
      }
    }
    announce(`Stopping Temporal's dev server (pid ${pid}) that an earlier workloadd left running.`);
    await stopServer(pid);
  }
  return null;
}

async function isUsable(
  pid: number,
  ports: Ports,
  wantedArgs: string[],
  attributes: readonly string[],
): Promise<boolean> {
  const args = commandLineOf(pid)?.slice(1) ?? [];
  if (args.join('\0') !== wantedArgs.join('\0')) return false;
  return waitUntilServing(pid, addressOf(ports), attributes).then(
    () => true,
    () => false,
  );
}

const argumentsFor = (files: DevServerFiles, ports: Ports, options: TemporalDevServerOptions): string[] =>
  devServerArguments(files, ports, options.searchAttributes ?? [], options.extraArgs ?? []);

const wantedPorts = ({ port, uiPort }: TemporalDevServerOptions): Partial<Ports> => ({
  ...(port !== undefined && { port }),
  ...(uiPort !== undefined && { uiPort }),
});

const addressOf = (ports: Ports): string => `127.0.0.1:${ports.port}`;

const stopServer = (pid: number): Promise<void> =>
  stopProcess(pid, [
    { signal: 'SIGTERM', waitMs: 10_000 },
    { signal: 'SIGKILL', waitMs: 5_000 },
  ]);

function handleOf(pid: number, ports: Ports, adopted: boolean): TemporalDevServer {
  const stopping = new AbortController();
  return {
    address: addressOf(ports),
    uiUrl: `http://127.0.0.1:${ports.uiPort}`,
    pid,
    adopted,
    ended: whenEnded(pid, stopping.signal),
    stop: () => {
      stopping.abort();
      return stopServer(pid);
    },
  };
}
