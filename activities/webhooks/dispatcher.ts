import type { Logger } from 'pino';
import type { Secret } from '../../contracts/secret';
import { debugPoint } from '../../domain/debug-point';
import type { TargetRules } from '../../domain/webhooks/allowed-target';
import { afterTry } from '../../domain/webhooks/retry';
import { secretsInForce } from '../../domain/webhooks/secrets';
import { signedHeaders } from '../../domain/webhooks/signature';
import type { Database } from '../../ledger/database';
import { concludeTry, takeMessages, type TakenMessage } from '../../ledger/webhook-messages';
import { send, type Resolve } from './send';

export interface WebhookDispatcherOptions {
  db: Database;
  rules: TargetRules;
  /** Signs what is sent. */
  signingKey: () => Secret;
  logger: Logger;
  /** How often due messages are looked for. Default 500 ms. */
  pollMs?: number;
  /** Default 10 s. */
  timeoutMs?: number;
  /** Default: the system's resolver. */
  resolve?: Resolve;
}

const POLL_MS = 500;
/** Messages under way at once, in all and to one host. */
const CONCURRENCY = 32;
const PER_HOST = 4;
/** Hosts known not to answer, at most. */
const MAX_FAILING = 10_000;
/** A try that nobody concluded for this long was made by a process that died. */
const LEASE_MS = 60_000;

/**
 * Sends what the ledger has to tell: takes due messages, signs and posts them, writes down what became of it. Any number of
 * processes may do so at once. A message is told at least once, each time with the same id and the same bytes.
 */
export class WebhookDispatcher {
  private readonly underWay = new Map<string, number>();
  private readonly failing = new Set<string>();
  private readonly sending = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | undefined;
  private taking: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(private readonly options: WebhookDispatcherOptions) {}

  start(): void {
    this.schedule(this.options.pollMs ?? POLL_MS);
  }

  /** Takes nothing new and lets what is under way end, which takes one timeout at most. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.taking;
    await Promise.all(this.sending);
  }

  private schedule(afterMs: number): void {
    clearTimeout(this.timer);
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.taking = this.take().then((taken) => this.schedule(taken > 0 ? 0 : (this.options.pollMs ?? POLL_MS)));
    }, afterMs);
  }

  /** How many were taken; 0 also when there is no room or no ledger. */
  private async take(): Promise<number> {
    const total = CONCURRENCY - this.sending.size;
    if (total <= 0) return 0;
    try {
      const room = { total, perHost: PER_HOST, hosts: this.roomOfHosts() };
      const messages = await takeMessages(this.options.db, room, LEASE_MS);
      if (messages.length > 0) debugPoint('webhook-taken');
      for (const message of messages) this.begin(message);
      return messages.length;
    } catch (error) {
      this.options.logger.warn({ error: nameOf(error) }, 'due webhooks could not be read; trying again');
      return 0;
    }
  }

  /** A host that does not answer gets one try at a time: it must not use up the places of the others. */
  private roomOfHosts(): Map<string, number> {
    const known = new Set([...this.underWay.keys(), ...this.failing]);
    return new Map(
      [...known].map((host) => {
        const most = this.failing.has(host) ? 1 : PER_HOST;
        return [host, Math.max(0, most - (this.underWay.get(host) ?? 0))];
      }),
    );
  }

  private begin(message: TakenMessage): void {
    const { host } = message;
    this.underWay.set(host, (this.underWay.get(host) ?? 0) + 1);
    const sent = this.tell(message)
      .catch((error: unknown) => {
        const { message_id, workload_id } = message;
        this.options.logger.warn(
          { message_id, workload_id, error: nameOf(error) },
          'the outcome of a webhook could not be noted; it is sent again',
        );
      })
      .finally(() => {
        const left = (this.underWay.get(host) ?? 1) - 1;
        if (left === 0) this.underWay.delete(host);
        else this.underWay.set(host, left);
        this.sending.delete(sent);
      });
    this.sending.add(sent);
  }

  private async tell(message: TakenMessage): Promise<void> {
    const { db, rules, timeoutMs, resolve, logger } = this.options;
    if (message.url === null) {
      await concludeTry(db, message, { status: null, error: null }, { state: 'withdrawn' });
      return;
    }
    const outcome = await send(message.url, message.body, this.headersOf(message), {
      rules,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(resolve === undefined ? {} : { resolve }),
    });
    debugPoint('webhook-sent');
    if (outcome.status === null && this.failing.size < MAX_FAILING) this.failing.add(message.host);
    else if (outcome.status !== null) this.failing.delete(message.host);
    const after = afterTry(message.attempts, outcome, Math.random());
    await concludeTry(db, message, outcome, after);
    debugPoint('webhook-concluded');
    const { message_id, workload_id, host, attempts } = message;
    const facts = { message_id, workload_id, host, attempts, status: outcome.status, error: outcome.error };
    if (after.state === 'pending') logger.info({ ...facts, retry_ms: after.delayMs }, 'a webhook was not taken');
    else if (after.state === 'gave_up') logger.warn(facts, 'a webhook was given up');
    else logger.debug(facts, `a webhook is ${after.state}`);
  }

  private headersOf(message: TakenMessage): Record<string, string> {
    const { kind, tenant_id: tenantId, target_id: targetId, secret_version: version } = message;
    const of = { kind, tenantId, id: kind === 'callback' ? tenantId : targetId, version };
    const secrets = secretsInForce(this.options.signingKey(), of, message.rotated_at, message.now);
    return {
      'content-type': 'application/json',
      'user-agent': 'opencrow-workloadd',
      ...signedHeaders(secrets, message.message_id, message.now.getTime() / 1000, message.body),
    };
  }
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown');
