import type { Database } from '../ledger/database';
import { pendingMigrations } from '../ledger/migrate';

const PROBE_TIMEOUT_MS = 2000;
/** Probing is shared, so that asking often costs nothing. */
const FRESH_MS = 500;

/** One thing that must, or should, work. */
export interface Check {
  ok: boolean;
  /** What is wrong, in words for operators; absent when all is well. */
  detail?: string;
}

/** Whether requests can be served now, and what is wrong. */
export interface Readiness {
  ready: boolean;
  checks: Record<'ledger' | 'migrations' | 'serving' | 'temporal', Check>;
}

/** Says whether the API can serve: ledger reachable, migrated, not shutting down. Temporal is told of, but not needed. */
export class ReadinessProbe {
  private draining = false;
  private latest: { at: number; answer: Promise<Readiness> } | null = null;

  constructor(
    private readonly db: Database,
    private readonly temporalReady: () => Promise<boolean>,
  ) {}

  /** From now on it is not ready. */
  drain(): void {
    this.draining = true;
    this.latest = null;
  }

  get isDraining(): boolean {
    return this.draining;
  }

  probe(): Promise<Readiness> {
    if (!this.latest || Date.now() - this.latest.at > FRESH_MS) this.latest = { at: Date.now(), answer: this.look() };
    return this.latest.answer;
  }

  private async look(): Promise<Readiness> {
    const [pending, temporal] = await Promise.all([
      within(pendingMigrations(this.db)).catch(() => null),
      within(this.temporalReady()).catch(() => false),
    ]);
    const checks: Readiness['checks'] = {
      ledger: pending === null ? { ok: false, detail: 'the ledger database does not answer' } : { ok: true },
      migrations:
        pending === null || pending.length === 0
          ? { ok: pending !== null, ...(pending === null && { detail: 'unknown' }) }
          : { ok: false, detail: `missing: ${pending.join(', ')}; run workloadd migrate` },
      serving: this.draining ? { ok: false, detail: 'shutting down' } : { ok: true },
      temporal: temporal
        ? { ok: true }
        : { ok: false, detail: 'Temporal does not answer; events are accepted and wait' },
    };
    return { ready: checks.ledger.ok && checks.migrations.ok && checks.serving.ok, checks };
  }
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), PROBE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
