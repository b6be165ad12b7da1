import { randomBytes } from 'node:crypto';
import type { ExecutionRequest } from '../../contracts/execution';
import { DEFAULT_PROFILE_ID, ProfileError } from '../../domain/execution/sandbox-profiles';
import { builtInBackends, Backends, type BackendSettings } from '../../executors/backends';
import { runCommand } from '../../executors/run-command';
import type { ConfigOf } from '../config';
import { EXEC_EXIT, printWhole, readableEnvelope } from '../envelope-output';
import { CommandFailed, EXIT } from '../exit-codes';
import { sandboxProfileFor } from '../sandbox-profile-file';

export interface ExecArguments {
  /** Address of a service that it goes through. */
  via?: string;
  /** Below the worker's workspace; only with `via`. */
  cwd?: string;
  backend: string;
  sandbox?: string;
  image?: string;
  digest?: string;
  endpoint?: string;
  job?: string;
  timeoutMs?: string;
  label?: string;
  json?: boolean;
}

/**
 * `workloadd exec`: runs one command in the working folder on a backend, with no service. What it prints goes to stderr as it
 * comes, the envelope to stdout at the end. Fails with the exit code of its status.
 */
export async function runExec(config: ConfigOf<'exec'>, args: ExecArguments, argv: readonly string[]): Promise<void> {
  if (args.cwd !== undefined)
    throw new CommandFailed('--cwd goes with --via: here it is the working folder', EXIT.usage);
  const backends = new Backends(builtInBackends(backendSettings(config)));
  const backend = backends.get(args.backend);
  if (!backend) throw unknownBackend(backends, args.backend);
  refuseStrayTargets(args);
  const cwd = process.cwd();
  const profile = profileOf(args.sandbox, cwd);
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  process.once('SIGINT', abort).once('SIGTERM', abort);

  const envelope = await runCommand(backend, requestOf(args, argv, cwd), profile, {
    signal: stop.signal,
    hostEnv: process.env,
    runKey: `exec-${randomBytes(10).toString('hex')}`,
    output: (_, chunk) => void process.stderr.write(chunk),
  });
  process.off('SIGINT', abort).off('SIGTERM', abort);
  await printWhole(args.json ? JSON.stringify(envelope) : readableEnvelope(envelope));
  if (envelope.status !== 'completed') {
    // The envelope says it all.
    throw new CommandFailed('', EXEC_EXIT[envelope.status]);
  }
}

/** What the backends are set to by options. */
export function backendSettings(config: ConfigOf<'exec'> | ConfigOf<'backend list'>): BackendSettings {
  const { containerRuntimes, runnerToken, runnerPrivateHosts } = config;
  return {
    containerRuntimes,
    runnerPrivateHosts,
    runnerToken: runnerToken && (() => runnerToken().reveal()),
  };
}

/** Where the options that name a target belong. */
const TARGETS: [keyof Pick<ExecArguments, 'image' | 'digest' | 'endpoint' | 'job'>, string[]][] = [
  ['image', ['container']],
  ['digest', ['container']],
  ['endpoint', ['remote', 'ci']],
  ['job', ['remote', 'ci']],
];

/** Who names an image or a runner and forgets the backend must not have the command run on this host instead. */
export function refuseStrayTargets(args: ExecArguments): void {
  for (const [option, backends] of TARGETS) {
    if (args[option] === undefined || backends.includes(args.backend)) continue;
    const wanted = backends.map((backend) => `--backend ${backend}`).join(' or ');
    throw new CommandFailed(`--${option} goes with ${wanted}, not with ${args.backend}`, EXIT.usage);
  }
}

export function unknownBackend(backends: Backends, id: string): CommandFailed {
  const known = backends.list().map(({ spec }) => spec.id);
  return new CommandFailed(`unknown execution backend ${id}: use ${known.join(', ')}`, EXIT.usage);
}

/** The profile that an option names, or the default one. A wrong one is wrong use. */
export function profileOf(name: string = DEFAULT_PROFILE_ID, cwd: string): ReturnType<typeof sandboxProfileFor> {
  try {
    return sandboxProfileFor(name, cwd);
  } catch (error) {
    if (error instanceof ProfileError) throw new CommandFailed(`${error.code}: ${error.message}`, EXIT.usage);
    throw error;
  }
}

function requestOf(args: ExecArguments, argv: readonly string[], cwd: string): ExecutionRequest {
  const [command, ...rest] = argv;
  return {
    command,
    args: rest,
    cwd,
    label: args.label,
    timeoutMs: args.timeoutMs === undefined ? undefined : Number(args.timeoutMs),
    image: args.image,
    digest: args.digest,
    endpoint: args.endpoint,
    jobId: args.job,
  };
}
