import path from 'node:path';
import pino from 'pino';
import type { Secret } from '../../contracts/secret';
import { createCommandExecutor } from '../../executors/command';
import { ControlPlaneClient } from '../../executors/control-plane-client';
import type { DeliveryOutcome } from '../../executors/executor';
import { nodeBackend } from '../../executors/node/node-backend';
import { remoteBackend } from '../../executors/remote/remote-backend';
import type { TestApi } from './api-server';
import { temporaryFolder } from './temporary-folder';

/** What a worker is to do, and as whom. */
export interface CommandWork {
  workerId: string;
  credential: Secret;
  workId: string;
  kind: 'node' | 'remote';
}

/** A worker at work on one command. */
export interface Working {
  outcome: Promise<DeliveryOutcome>;
  /** Tells the process to stop. Its grace is longer than any test. */
  drain: AbortController;
  /** Tells it that the control plane lets it in no more. */
  shutOut: AbortController;
  /** The way to the api. */
  control: ControlPlaneClient;
  /** Where the command runs. */
  workspace: string;
}

const logger = pino({ level: 'silent' });

/** Has a worker of its own run the command of a queued workload, as if a queue had offered it. */
export function workOn(api: TestApi, { workerId, credential, workId, kind }: CommandWork): Working {
  const workspace = temporaryFolder();
  const runner = remoteBackend({ privateHosts: ['127.0.0.1'], pollMs: { first: 10, longest: 20 } });
  const executor = createCommandExecutor({
    kind,
    backend: kind === 'node' ? nodeBackend : runner,
    workspace,
    graceMs: 600_000,
    apiUrl: api.url,
    workerId,
    runsFolder: path.join(workspace, 'runs'),
    running: new Set(),
    logger,
  });
  const control = new ControlPlaneClient({ baseUrl: api.url, workerId, credential: () => credential });
  const drain = new AbortController();
  const shutOut = new AbortController();
  const cancelSignal = new AbortController().signal;
  const heartbeat = (): void => undefined;
  const context = {
    control,
    heartbeat,
    cancelSignal,
    drainSignal: drain.signal,
    shutOutSignal: shutOut.signal,
    logger,
  };
  return { outcome: executor.deliver({ workId }, context), drain, shutOut, control, workspace };
}
