import { z } from 'zod';
import { pause } from '../../domain/backoff';
import { serverSentEvents, type ServerSentEvent } from './server-sent-events';
import { ServiceRefused, type Service } from './service';

const printed = z.object({ text: z.string() });
const RETRY_MS = 1_000;
/** Longer than the service is ever silent on a stream. */
const SILENCE_MS = 60_000;

export interface FollowedOutputOptions {
  service: Service;
  workloadId: string;
  /** Takes what the command prints. */
  write: (text: string) => void;
  tell: (text: string) => void;
}

/**
 * What the deliveries of a workload print, one after the other, as it comes. A lost connection is made again, behind the last that
 * came, for as long as it is wanted. Never rejects: without output the workload is followed all the same.
 */
export class FollowedOutput {
  private readonly stopping = new AbortController();
  private delivery = 0;
  private following: Promise<void> = Promise.resolve();

  constructor(private readonly options: FollowedOutputOptions) {}

  /** Follows the output of this delivery too, after those before it. */
  follow(delivery: number): void {
    while (this.delivery < delivery) {
      this.delivery += 1;
      const next = this.delivery;
      this.following = this.following.then(() => this.followOne(next));
    }
  }

  /** Resolves when all that was followed has ended. */
  get ended(): Promise<void> {
    return this.following;
  }

  /** Waits for the rest of the output, at most so long, and stops. */
  async finish(ms: number): Promise<void> {
    await Promise.race([this.following, pause(ms, this.stopping.signal)]);
    this.stopping.abort();
    await this.following;
  }

  private async followOne(delivery: number): Promise<void> {
    const { service, workloadId, tell } = this.options;
    const path = `/api/workloads/${workloadId}/output?follow=true&delivery=${delivery}`;
    let after = '';
    while (!this.stopping.signal.aborted) {
      const silence = new Silence(this.stopping.signal);
      try {
        const bytes = await service.stream(path, after === '' ? {} : { 'Last-Event-ID': after }, silence.signal);
        for await (const event of serverSentEvents(silence.watch(bytes ?? []))) {
          if (event.event === 'end') return;
          this.show(event);
          if (event.id !== '') after = event.id;
        }
      } catch (error) {
        if (error instanceof ServiceRefused) {
          tell(`no output is shown: ${error.message}`);
          return;
        }
      } finally {
        silence.end();
      }
      await pause(RETRY_MS, this.stopping.signal);
    }
  }

  private show({ event, data }: ServerSentEvent): void {
    if (event !== 'stdout' && event !== 'stderr') return;
    this.options.write(printed.parse(JSON.parse(data)).text);
  }
}

/** Aborts a stream that nothing comes on any more. */
class Silence {
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private readonly abort = (): void => this.controller.abort();
  readonly signal = this.controller.signal;

  constructor(private readonly outer: AbortSignal) {
    outer.addEventListener('abort', this.abort);
    if (outer.aborted) this.abort();
    this.heard();
  }

  async *watch(bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of bytes) {
      this.heard();
      yield chunk;
    }
  }

  end(): void {
    clearTimeout(this.timer);
    this.outer.removeEventListener('abort', this.abort);
  }

  private heard(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.abort, SILENCE_MS);
  }
}
