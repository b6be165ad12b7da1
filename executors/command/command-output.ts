import type { Logger } from 'pino';
import type { z } from 'zod';
import type { finishRequest } from '../../contracts/worker-protocol';
import type { Lease } from '../control-plane-answers';
import type { ControlPlaneClient } from '../control-plane-client';

/** Sizes and digests of what a command printed. */
export type PrintedOutput = NonNullable<z.infer<typeof finishRequest>['output']>;

/** Where what one command prints goes while it runs. */
export interface CommandOutput {
  /** Takes what was printed, as it comes. Neither waits nor throws. */
  write(stream: 'stdout' | 'stderr', chunk: Uint8Array): void;
  /**
   * Nothing more comes. Sends on what is left, for a bounded time and at most until `giveUp`, and tells what was printed;
   * undefined when that was not counted. Never rejects.
   */
  finish(giveUp: AbortSignal): Promise<PrintedOutput | undefined>;
}

/** The run whose output it is. The lease is renewed by whoever runs the command. */
export interface CommandOutputOf {
  lease: Lease;
  deliveryId: string;
  control: ControlPlaneClient;
  logger: Logger;
}

/** Makes the output of one run, after its intent was recorded. */
export type OpenCommandOutput = (run: CommandOutputOf) => CommandOutput;

/** Keeps nothing. */
export const noOutput: OpenCommandOutput = () => ({
  write: () => undefined,
  finish: () => Promise.resolve(undefined),
});
