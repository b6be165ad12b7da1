import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';

/** The ports of a dev server, both on 127.0.0.1. */
export interface Ports {
  /** gRPC. */
  port: number;
  uiPort: number;
}

/** Where a dev server keeps its things in a data dir. */
export interface DevServerFiles {
  /** Null: everything is in memory and gone with the server. */
  database: string | null;
  ports: string;
  log: string;
}

export const devServerFiles = (dataDir: string, inMemory: boolean): DevServerFiles => ({
  database: inMemory ? null : path.join(dataDir, 'temporal.db'),
  ports: path.join(dataDir, 'temporal-ports.json'),
  log: path.join(dataDir, 'temporal.log'),
});

/** Without these the server hands a queue's tasks out in any order: it knows priorities within one partition only, and not by default. */
const MATCHING = [
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'matching.enableFairness=true',
];

/** The arguments that start the dev server; they also tell it from any other process. */
export function devServerArguments(
  files: DevServerFiles,
  ports: Ports,
  searchAttributes: readonly string[],
  extraArgs: readonly string[],
): string[] {
  return [
    'server',
    'start-dev',
    ...['--ip', '127.0.0.1'],
    ...['--port', String(ports.port)],
    ...['--ui-port', String(ports.uiPort)],
    ...(files.database ? ['--db-filename', files.database] : []),
    ...['--namespace', 'default'],
    ...['--log-level', 'warn', '--log-format', 'json'],
    ...searchAttributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
    ...MATCHING.flatMap((setting) => ['--dynamic-config-value', setting]),
    ...extraArgs,
  ];
}

/** Whether a process with these arguments is the dev server of these files, on whatever ports it was started. */
export function isDevServerOf(files: DevServerFiles, args: readonly string[]): boolean {
  if (!args.includes('start-dev')) return false;
  if (files.database) return args.includes(files.database);
  const ports = rememberedPorts(files);
  return ports !== null && args.includes(String(ports.port)) && args.includes(String(ports.uiPort));
}

/** The ports that were used last; null the first time. */
export function rememberedPorts(files: DevServerFiles): Ports | null {
  if (!existsSync(files.ports)) return null;
  try {
    const { port, uiPort } = JSON.parse(readFileSync(files.ports, 'utf8')) as Partial<Ports>;
    return Number.isInteger(port) && Number.isInteger(uiPort) ? { port: port!, uiPort: uiPort! } : null;
  } catch {
    return null;
  }
}

/**
 * The ports for a new server, written down before it starts: those asked for, else those used last if they are free, else any
 * free ones. Fails when a port that was asked for is taken.
 */
export async function choosePorts(files: DevServerFiles, wanted: Partial<Ports>): Promise<Ports> {
  const last = rememberedPorts(files);
  const port = await choosePort('port', wanted.port, last?.port);
  const uiPort = await choosePort('UI port', wanted.uiPort, last?.uiPort);
  const ports = { port, uiPort };
  writeFileSync(`${files.ports}.new`, JSON.stringify(ports), { mode: 0o600 });
  renameSync(`${files.ports}.new`, files.ports);
  return ports;
}

async function choosePort(what: string, wanted: number | undefined, last: number | undefined): Promise<number> {
  if (wanted !== undefined) {
    if ((await bind(wanted)) === null)
      throw new Error(`The ${what} ${wanted} for Temporal's dev server is already in use.`);
    return wanted;
  }
  const reused = last === undefined ? null : await bind(last);
  const chosen = reused ?? (await bind(0));
  if (chosen === null) throw new Error('There is no free TCP port on 127.0.0.1.');
  return chosen;
}

/** The port if it could be listened on, else null. 0 is any free one. */
function bind(port: number): Promise<number | null> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' || error.code === 'EACCES' ? resolve(null) : reject(error),
    );
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const { port: bound } = server.address() as net.AddressInfo;
      server.close(() => resolve(bound));
    });
  });
}
