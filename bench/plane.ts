import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { claim } from '../ledger/claims';
import type { Database } from '../ledger/database';
import { recordIntent } from '../ledger/deliveries';
import { removeEmbeddedPostgres, startEmbeddedPostgres } from '../ledger/embedded-postgres';
import type { FencedWrite } from '../ledger/fenced-write';
import { migrate } from '../ledger/migrate';
import { renewLease } from '../ledger/renew-lease';
import { writeEvents } from '../ledger/work-writes/events';
import type { WorkerPrincipal } from '../ledger/workers';
import { interleaved, pairLine, type PairSample } from './measure';
import { enrolled, managedWork } from './plane-work';
import { RecordedDatabase, sendAgain, type Statement } from './recorded-statements';

const LANES = 10;
const PER_ROUND = 100;
const WARM_UP = 30;

const BARE_EVENTS = `CREATE TABLE bare_events (workload_id text NOT NULL REFERENCES workloads, sequence bigint NOT NULL, event_id text NOT NULL,
  type text NOT NULL, payload text NOT NULL, recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workload_id, sequence), UNIQUE (workload_id, event_id))`;
/** What a fenced write is made of, as anybody would send it. */
const BARE_LOCK = 'SELECT state FROM workloads WHERE workload_id = $1 FOR UPDATE';
const BARE_LOOK = `SELECT l.token_hash, l.epoch, l.expires_at > clock_timestamp() AS live, k.status, c.revoked_at FROM leases l
  JOIN workers k USING (worker_id) JOIN worker_credentials c ON c.credential_id = $2 WHERE l.work_id = $1`;
const BARE_NOTE = 'UPDATE leases SET last_heartbeat_at = clock_timestamp() WHERE work_id = $1';
const BARE_WRITE =
  'INSERT INTO bare_events (workload_id, sequence, event_id, type, payload) VALUES ($1, $2, $3, $4, $5) RETURNING recorded_at';

export interface PlaneResult {
  report: string;
  claim: PairSample & { roundTrips: number };
  renew: PairSample & { roundTrips: number };
  write: PairSample & { roundTrips: number };
}

/**
 * Times a claim and a renewal beside their own statements sent bare, and a fenced write beside the statements it is made of, on the same
 * Postgres, interleaved, by ten workers at once. Needs no Temporal.
 */
export async function comparePlane(rounds: number, log: (text: string) => void): Promise<PlaneResult> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'workloadd-bench-'));
  const postgres = await startEmbeddedPostgres({ dataDir: folder, announce: log });
  const db = new RecordedDatabase({ connection: { connectionString: postgres.url }, maxConnections: LANES });
  const bare = new pg.Pool({ connectionString: postgres.url, max: LANES });
  try {
    await migrate(db);
    await db.query(BARE_EVENTS);
    const admitted = await managedWork(db);
    const enrolling = await Promise.all(Array.from({ length: LANES }, (_, lane) => enrolled(db, lane)));
    const workers = enrolling.map(({ principal }) => principal);
    const settings = { rounds, perRound: PER_ROUND, warmUp: WARM_UP, inFlight: LANES };
    const needed = 2 * (WARM_UP + rounds * PER_ROUND) + 1;
    log(`admitting ${needed} workloads`);
    const ids: string[] = [];
    for (let index = 0; index < needed; index += 1) ids.push(await admitted(String(index)));

    log('claiming');
    const first = ids.pop()!;
    const claiming = await db.recording(() => claim(db, workers[0]!, first));
    const claims = await interleaved(
      {
        bare: (lane) => {
          const { workerId, credentialId } = workers[lane]!;
          const instead = [
            [first, ids.pop()!],
            [workers[0]!.workerId, workerId],
            [workers[0]!.credentialId, credentialId],
          ];
          return sendAgain(bare, claiming, new Map(instead as [string, string][]));
        },
        ours: (lane) => claim(db, workers[lane]!, ids.pop()!),
      },
      settings,
    );

    log('renewing and writing');
    const held = await Promise.all(
      Array.from({ length: LANES }, (_, lane) => admitted(`held-${lane}`).then((id) => begun(db, id, workers[lane]!))),
    );
    const renewing = await db.recording(() => renewLease(db, held[0]!, { running: true }));
    const renewals = await interleaved(
      {
        bare: (lane) => sendAgain(bare, renewing, new Map([[held[0]!.workId, held[lane]!.workId]])),
        ours: (lane) => renewLease(db, held[lane]!, { running: true }),
      },
      settings,
    );
    let sequence = 0;
    const payload = { note: 'as long as a short line of a log' };
    const event = (): { event_id: string; sequence: number; type: string; payload: typeof payload } => {
      sequence += 1;
      return { event_id: `event-${sequence}`, sequence, type: 'progress', payload };
    };
    const writing = await db.recording(() => writeEvents(db, held[0]!, [event()]));
    const writes = await interleaved(
      {
        bare: (lane) => {
          const { event_id, sequence: at, type } = event();
          const { workId } = held[lane]!;
          return sendAgain(bare, [
            { text: 'BEGIN', values: [] },
            { text: BARE_LOCK, values: [workId] },
            { text: BARE_LOOK, values: [workId, workers[lane]!.credentialId] },
            { text: BARE_WRITE, values: [workId, at, event_id, type, JSON.stringify(payload)] },
            { text: BARE_NOTE, values: [workId] },
            { text: 'COMMIT', values: [] },
          ]);
        },
        ours: (lane) => writeEvents(db, held[lane]!, [event()]),
      },
      settings,
    );
    const counted = (sample: PairSample, sent: readonly Statement[]): PairSample & { roundTrips: number } => ({
      ...sample,
      roundTrips: sent.length,
    });
    const result = {
      claim: counted(claims, claiming),
      renew: counted(renewals, renewing),
      write: counted(writes, writing),
    };
    return { ...result, report: reportOf(result) };
  } finally {
    await bare.end();
    await db.close();
    await removeEmbeddedPostgres(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

/** A unit of work that has begun, with a lease that outlasts the measurement. */
async function begun(db: Database, workId: string, principal: WorkerPrincipal): Promise<FencedWrite> {
  const { lease_token: leaseToken } = await claim(db, principal, workId);
  const write = { principal, workId, leaseToken };
  await recordIntent(db, write, randomBytes(16).toString('hex'), 600_000);
  await renewLease(db, write, { running: true }, 600_000);
  return write;
}

function reportOf({ claim: claims, renew, write }: Omit<PlaneResult, 'report'>): string {
  const lines = [
    pairLine('claim       ', { ours: 'ours', bare: 'the same statements' }, claims),
    pairLine('renew       ', { ours: 'ours', bare: 'the same statements' }, renew),
    pairLine('fenced write', { ours: 'ours', bare: 'its statements in a transaction' }, write),
  ];
  const trips = [claims, renew, write].map(({ roundTrips }) => roundTrips);
  return lines.map((line, index) => `${line}; ${trips[index]} round trips (goal ratio at most 2)`).join('\n');
}
