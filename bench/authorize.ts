import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parsePolicy } from '../domain/policy/parse';
import { evaluatePolicy } from '../domain/policy/evaluate';
import { acceptEvent } from '../ledger/accept';
import { admit } from '../ledger/admission';
import { authorizeCapability } from '../ledger/capability-authorize';
import { claim } from '../ledger/claims';
import { Database } from '../ledger/database';
import { recordIntent } from '../ledger/deliveries';
import { startEmbeddedPostgres } from '../ledger/embedded-postgres';
import { migrate } from '../ledger/migrate';
import { activatePolicy } from '../ledger/policies';
import { authenticateWorker, enrolWorker } from '../ledger/workers';
import { closedLoop, round, sampleOf, type Sample } from './measure';

const POLICY = `version: 1
default: { decision: ignore }
rules:
  - id: bench
    when: "true"
    decision: dispatch
    capabilities:
      - { hook: context-rss, operations: [show-entry], resources: ['"entry:" + event.event_id', { glob: "feed:*" }], max_uses: 10000 }
`;
const LANES = 10;
const BARE = 'UPDATE bare SET uses = uses + 1 WHERE id = $1 AND uses < 1000000 RETURNING uses';

export interface AuthorizeResult {
  report: string;
  alone: { bare: Sample; authorize: Sample };
  together: { bare: Sample; authorize: Sample };
}

/**
 * Times authorizing a capability beside a bare `UPDATE … RETURNING` on the same Postgres, interleaved: one at a time, and ten at
 * once on a row each. Needs no Temporal.
 */
export async function compareAuthorize(rounds: number, log: (text: string) => void): Promise<AuthorizeResult> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'workloadd-bench-'));
  const postgres = await startEmbeddedPostgres({ dataDir: folder, announce: log });
  const db = new Database({ connection: { connectionString: postgres.url } });
  try {
    await migrate(db);
    await db.query('CREATE TABLE bare (id integer PRIMARY KEY, uses integer NOT NULL)');
    await db.query('INSERT INTO bare SELECT id, 0 FROM generate_series(0, $1::integer - 1) id', [LANES]);
    const subjects = await prepare(db);
    const bare = async (lane: number): Promise<void> => void (await db.query(BARE, [lane]));
    const authorize = async (lane: number): Promise<void> => {
      const answer = await authorizeCapability(db, { tenantId: 'default', actor: 'token:bench' }, subjects[lane]!);
      if (!answer.allowed) throw new Error(`refused: ${answer.reason}`);
    };
    log('authorizing');
    const alone = await measure(rounds, 1, bare, authorize);
    const together = await measure(rounds, LANES, bare, authorize);
    return { alone, together, report: reportOf({ alone, together }) };
  } finally {
    await db.close();
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

type Subject = Parameters<typeof authorizeCapability>[2];

/** Hands a workload over for each lane; what its agent may ask. */
async function prepare(db: Database): Promise<Subject[]> {
  const { policy } = parsePolicy(POLICY);
  await activatePolicy(db, 'default', { source: POLICY, hash: policy.hash }, 'bench');
  const enrolled = await enrolWorker(db, {
    workerId: 'bench',
    poolId: 'default',
    maxOpenDeliveries: LANES,
    actor: 'bench',
  });
  const principal = (await authenticateWorker(db, enrolled.plaintext.reveal()))!;
  const subjects: Subject[] = [];
  for (let lane = 0; lane < LANES; lane += 1) {
    const event = { source: 'bench', action: 'run', event_id: String(lane), data: {} };
    const { workloadId } = await acceptEvent(db, 'default', event, 'bench');
    await admit(db, (_, given, tenant) => Promise.resolve(evaluatePolicy(policy, given, { tenant })), workloadId);
    const { lease_token: leaseToken, capability } = await claim(db, principal, workloadId);
    await recordIntent(db, { principal, workId: workloadId, leaseToken }, randomBytes(16).toString('hex'));
    subjects.push({
      token: capability!.token,
      hook: 'context-rss',
      kind: 'context',
      operation: 'show-entry',
      resource: `entry:${lane}`,
    });
  }
  return subjects;
}

const WARM_UP = 50;
const PER_ROUND = 200;

async function measure(
  rounds: number,
  lanes: number,
  bare: (lane: number) => Promise<void>,
  authorize: (lane: number) => Promise<void>,
): Promise<{ bare: Sample; authorize: Sample }> {
  const times = { bare: [] as number[], authorize: [] as number[] };
  const run = async (work: (lane: number) => Promise<void>, count: number): Promise<number[]> => {
    let next = 0;
    const { durations } = await closedLoop(count, lanes, () => work(next++ % lanes));
    return durations;
  };
  await run(bare, WARM_UP);
  await run(authorize, WARM_UP);
  for (let index = 0; index < rounds; index += 1) {
    times.bare.push(...(await run(bare, PER_ROUND)));
    times.authorize.push(...(await run(authorize, PER_ROUND)));
  }
  return { bare: sampleOf(times.bare), authorize: sampleOf(times.authorize) };
}

function reportOf({ alone, together }: Pick<AuthorizeResult, 'alone' | 'together'>): string {
  const line = (name: string, { bare, authorize }: AuthorizeResult['alone']): string =>
    [
      `${name}  authorize p50 ${authorize.p50} ms, p99 ${authorize.p99} ms`,
      `bare UPDATE … RETURNING p50 ${bare.p50} ms, p99 ${bare.p99} ms`,
      `ratio p50 ${round(authorize.p50 / bare.p50)}, p99 ${round(authorize.p99 / bare.p99)} (goal p50 and p99 at most 2)`,
    ].join('; ');
  return [line('one at a time', alone), line('ten at once  ', together)].join('\n');
}
