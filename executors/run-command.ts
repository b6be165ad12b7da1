import { lstatSync, realpathSync } from 'node:fs';
import path from 'node:path';
import type { ExecutionEnvelope, ExecutionRequest, RefusalCode } from '../contracts/execution';
import type { SandboxProfile } from '../contracts/sandbox-profile';
import { Envelopes, unenforceable } from '../domain/execution/envelopes';
import { requestFault } from '../domain/execution/request-fault';
import { commandDenied, forwardedNames } from '../domain/execution/sandbox-profiles';
import type { Backend, CheckedRequest, RunContext } from './backend';

type Refusal = { refused: RefusalCode; reason: string };

/**
 * Runs a command once on a backend and returns the envelope of what happened. Every gate is passed before anything is started, in
 * a fixed order, and a command that is refused is never given to another backend or another profile. Rejects only for defects.
 */
export async function runCommand(
  backend: Backend,
  request: ExecutionRequest,
  profile: SandboxProfile,
  context: Omit<RunContext, 'leave'>,
): Promise<ExecutionEnvelope> {
  const end = await runOrLeave(backend, request, profile, context);
  if (end === 'left') throw new Error(`backend ${backend.spec.id} left a command that it was to wait for`);
  return end;
}

/** As {@link runCommand}, for whoever may leave: then there is no envelope, since the command goes on. */
export async function runOrLeave(
  backend: Backend,
  request: ExecutionRequest,
  profile: SandboxProfile,
  context: RunContext,
): Promise<ExecutionEnvelope | 'left'> {
  const envelopes = new Envelopes(backend.spec, profile, request);
  const checked = await passGates(backend, request, profile, context, envelopes);
  if ('refused' in checked) return envelopes.refused(checked.refused, checked.reason);
  const end = await backend.run(checked, { ...context, hostEnv: { ...context.hostEnv, ...context.variables } });
  if (end.type === 'left') return 'left';
  if (end.handle) envelopes.handle = end.handle;
  if (end.type === 'refused') {
    return envelopes.refused(end.code, end.reason, { unknown: end.outcomeUnknown === true, notes: end.notes ?? [] });
  }
  return envelopes.exited(end);
}

async function passGates(
  backend: Backend,
  request: ExecutionRequest,
  profile: SandboxProfile,
  context: RunContext,
  envelopes: Envelopes,
): Promise<CheckedRequest | Refusal> {
  const { spec } = backend;
  const fault = requestFault(request) ?? backend.check?.(request) ?? null;
  if (fault) return { refused: fault.code, reason: fault.reason };
  const { command = '', args = [] } = request;
  const denied = command === '' ? null : commandDenied(profile, command, args);
  if (denied !== null) return { refused: 'sandbox-command-denied', reason: denied };
  const [dimension] = unenforceable(spec, profile);
  if (dimension !== undefined) {
    return { refused: 'sandbox-unenforceable', reason: `backend ${spec.id} cannot hold ${dimension}` };
  }
  const handle = backend.handleOf?.(request, context.hostEnv);
  if (spec.kind === 'delegating') {
    if (!handle)
      return {
        refused: 'delegation-target-missing',
        reason: `backend ${spec.id} was given no target: it needs ${spec.target ?? 'one'}`,
      };
    envelopes.handle = handle;
  } else {
    const { ready, checks } = await backend.probe(context);
    const broken = checks.find(({ ok }) => !ok);
    if (!ready) return { refused: 'backend-not-ready', reason: broken?.detail ?? `backend ${spec.id} is not ready` };
  }
  if (command === '') {
    envelopes.handle = undefined;
    return { refused: 'no-command', reason: `backend ${spec.id} was given no command` };
  }
  const place = placeOf(request);
  if ('refused' in place) return place;
  // Its links may lead to where the backend cannot follow.
  const misplaced = backend.check?.({ ...request, cwd: place.cwd }) ?? null;
  if (misplaced) return { refused: misplaced.code, reason: misplaced.reason };
  const forwarded = forwardedNames(profile, context.hostEnv, request.env);
  if ('denied' in forwarded) {
    return { refused: 'sandbox-env-denied', reason: `profile ${profile.id} does not expose ${forwarded.denied}` };
  }
  const timeoutMs = request.timeoutMs ?? spec.defaultTimeoutMs;
  const own = Object.keys(context.variables ?? {}).filter((name) => !profile.env.deny.includes(name));
  const names = [...new Set([...forwarded.names, ...own])];
  return { command, args, cwd: place.cwd, timeoutMs, profile, forwarded: names, handle };
}

/** The folder it runs in, with every link followed: it must be a folder and lie in the workspace. */
function placeOf({ cwd, workspace }: ExecutionRequest): { cwd: string } | Refusal {
  const outside = (reason: string): Refusal => ({ refused: 'cwd-outside-workspace', reason });
  try {
    const real = realpathSync(cwd);
    if (!lstatSync(real).isDirectory()) return outside('the working folder is no folder');
    const root = realpathSync(workspace ?? cwd);
    const within = path.relative(root, real);
    const escapes = within === '..' || within.startsWith(`..${path.sep}`) || path.isAbsolute(within);
    return escapes ? outside('the working folder does not lie in the workspace') : { cwd: real };
  } catch {
    return outside('the working folder cannot be entered');
  }
}
