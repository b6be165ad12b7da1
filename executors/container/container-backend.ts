import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionHandle, ExecutionRequest } from '../../contracts/execution';
import { digestFault, imageFault } from '../../contracts/run-faults';
import type { Backend, BackendProbe, CheckedRequest, RunContext, RunEnd } from '../backend';
import { OUTPUT_LIMIT_BYTES, runChild, type ChildEnd } from '../child-run';
import { hostVariablesOf } from './cli-environment';
import { ContainerCli, firstLine } from './container-cli';
import { removeLeftContainers } from './janitor';
import { containerNameOf, containerVariables, runArguments } from './run-arguments';

export interface ContainerOptions {
  /**
   * Runtimes that may be used, in order. The first one on PATH is taken; the next is tried only when the one before is not
   * there, or its daemon does not answer. Default `docker` alone.
   */
  runtimes?: readonly string[];
}

/** The runtime's own failure, as `docker run` and `podman run` report it. */
const RUNTIME_FAILED = 125;

/** Runs commands in containers through the command line of docker or podman. */
export function containerBackend({ runtimes = ['docker'] }: ContainerOptions = {}): Backend {
  return {
    spec: {
      id: 'container',
      title: `A container of ${runtimes.join(' or ')}`,
      kind: 'delegating',
      locality: 'local',
      target: 'an image',
      support: { read: 'enforce', write: 'enforce', command: 'enforce', network: 'enforce', env: 'enforce' },
      defaultTimeoutMs: 600_000,
    },
    handleOf,
    check,
    probe: ({ hostEnv }) => probe(runtimes, hostEnv),
    run: (request, context) => run(runtimes, request, context),
    tidy: (context) => removeLeftContainers(runtimes, context),
  };
}

function handleOf({ image, digest }: ExecutionRequest): ExecutionHandle | undefined {
  if (!image) return undefined;
  return digest === undefined
    ? { kind: 'container', ref: image, image }
    : { kind: 'container', ref: `${image}@${digest}`, image, digest };
}

function check({ image, digest, cwd }: ExecutionRequest): ReturnType<NonNullable<Backend['check']>> {
  if (cwd.includes(':'))
    return { code: 'cwd-outside-workspace', reason: 'a folder with a colon cannot be mounted into a container' };
  const fault = image ? (imageFault(image) ?? (digest === undefined ? null : digestFault(digest))) : null;
  return fault === null ? null : { code: 'invalid-image', reason: fault };
}

async function probe(runtimes: readonly string[], hostEnv: NodeJS.ProcessEnv): Promise<BackendProbe> {
  const checks: BackendProbe['checks'] = [];
  for (const runtime of runtimes) {
    const seen = await new ContainerCli(runtime, hostEnv).preflight();
    const ok = 'version' in seen;
    checks.push({ name: `${runtime} daemon`, ok, detail: ok ? `version ${seen.version}` : seen.why });
    if (ok) return { ready: true, checks };
  }
  return { ready: false, checks };
}

async function run(runtimes: readonly string[], request: CheckedRequest, context: RunContext): Promise<RunEnd> {
  const handle = request.handle!;
  const found = await firstReady(runtimes, context.hostEnv);
  if ('why' in found) return refused('runtime-unavailable', found.why);
  const { cli } = found;
  const name = containerNameOf(context.runKey);
  if ((await cli.ask(['container', 'inspect', '--format', '{{.Id}}', name])).ok) {
    await cli.remove(name);
    return { ...refused('delegation-failed', 'an earlier attempt had started its container'), outcomeUnknown: true };
  }
  const missing = await cli.pullMissing(handle.ref, context.signal);
  if (missing !== null) return refused('runtime-unavailable', `${cli.runtime} cannot get the image: ${missing}`);

  context.started?.();
  const scratch = mkdtempSync(path.join(os.tmpdir(), 'workloadd-container-'));
  const cidFile = path.join(scratch, 'cid');
  try {
    const end = await runChild({
      command: cli.runtime,
      args: runArguments(request, handle, { runKey: context.runKey, workerId: context.workerId, cidFile }),
      cwd: request.cwd,
      env: hostVariablesOf(context.hostEnv, containerVariables(request)),
      timeoutMs: request.timeoutMs,
      signal: context.signal,
      output: context.output,
      beforeKill: () => cli.remove(name),
    });
    if (end.exitCode === null || end.exitCode === RUNTIME_FAILED) await cli.remove(name);
    const created = existsSync(cidFile) && statSync(cidFile).size > 0;
    return { ...judged(cli.runtime, end, created, request), handle: await resolved(cli, handle) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function firstReady(
  runtimes: readonly string[],
  hostEnv: NodeJS.ProcessEnv,
): Promise<{ cli: ContainerCli } | { why: string }> {
  const reasons: string[] = [];
  for (const runtime of runtimes) {
    const cli = new ContainerCli(runtime, hostEnv);
    const seen = await cli.preflight();
    if ('version' in seen) return { cli };
    reasons.push(`${runtime} daemon is not reachable: ${seen.why}`);
  }
  return { why: reasons.join('; ') };
}

/** A container ends with its run. */
type OwnEnd = Exclude<RunEnd, { type: 'left' }>;

/** What the end of the command line says of the command. `created`: there was a container, so it may have run. */
function judged(runtime: string, end: ChildEnd, created: boolean, { timeoutMs }: CheckedRequest): OwnEnd {
  const { exitCode, cut, cause, stdoutDigest, stderrHead, stderrCut } = end;
  const maybe = created ? { outcomeUnknown: true } : {};
  if (cut !== null) {
    const why = {
      spawn: `cannot be started: ${cause}`,
      timeout: `timed out after ${timeoutMs} ms`,
      cancelled: 'was cancelled',
      overflow: `printed more than ${OUTPUT_LIMIT_BYTES} bytes`,
    }[cut];
    return { ...refused('delegation-failed', `${runtime} run ${why}`), ...maybe };
  }
  if (exitCode === null || exitCode === RUNTIME_FAILED) {
    const why = firstLine(stderrHead) ?? 'container runtime error';
    return { ...refused('runtime-unavailable', `${runtime} could not run the container: ${why}`), ...maybe };
  }
  const notes = stderrCut ? [`stderr: cut off at ${OUTPUT_LIMIT_BYTES} bytes`] : [];
  return { type: 'exited', exitCode, stdoutDigest, notes };
}

const refused = (
  code: 'runtime-unavailable' | 'delegation-failed',
  reason: string,
): Extract<RunEnd, { type: 'refused' }> => ({ type: 'refused', code, reason });

/** The digest of the image that a name without one stood for, where the runtime can tell. */
async function resolved(cli: ContainerCli, handle: ExecutionHandle): Promise<ExecutionHandle> {
  if (handle.digest !== undefined) return handle;
  const { ok, line } = await cli.ask(['image', 'inspect', '--format', '{{index .RepoDigests 0}}', handle.ref]);
  const resolvedDigest = ok ? /@(sha256:[0-9a-f]{64})$/.exec(line ?? '')?.[1] : undefined;
  return resolvedDigest === undefined ? handle : { ...handle, metadata: { resolvedDigest } };
}
