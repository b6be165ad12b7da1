import path from 'node:path';
import type { ExecutionEnvelope, ExecutionRequest, RefusalCode } from '../../contracts/execution';
import { RUN_VARIABLES, type RunSpec } from '../../contracts/run';
import { Envelopes } from '../../domain/execution/envelopes';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import type { Backend } from '../backend';
import type { GrantedClaim } from '../control-plane-answers';

/** A rule's command as a request of a backend; its folder is relative to the worker's workspace. */
export function requestOf(run: RunSpec, workspace: string): ExecutionRequest {
  return {
    command: run.command,
    args: run.args,
    cwd: path.resolve(workspace, run.cwd),
    workspace,
    env: run.env ?? undefined,
    timeoutMs: run.timeout ?? undefined,
    image: run.image ?? undefined,
    digest: run.digest ?? undefined,
    endpoint: run.endpoint ?? undefined,
    jobId: run.job_id ?? undefined,
  };
}

/** What a command is told of its workload, by its environment alone. */
export function variablesOf({ work_id: workId, delivery_id: deliveryId, capability }: GrantedClaim) {
  return {
    [RUN_VARIABLES.workloadId]: workId,
    [RUN_VARIABLES.deliveryId]: deliveryId,
    ...(capability && {
      [RUN_VARIABLES.capabilityToken]: capability.token.reveal(),
      [RUN_VARIABLES.capabilities]: JSON.stringify(capability.offered),
    }),
  };
}

/** The envelope of a command that was refused before its backend was asked: under the strictest profile, by the asked name. */
export function refusedBefore(
  backend: Backend,
  request: ExecutionRequest,
  refusal: { profileId: string; code: RefusalCode; reason: string; unknown?: boolean },
): ExecutionEnvelope {
  const profile = { ...bundledProfile('locked-down')!, id: refusal.profileId };
  const { code, reason, unknown = false } = refusal;
  return new Envelopes(backend.spec, profile, request).refused(code, reason, { unknown });
}
