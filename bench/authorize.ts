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
import { removeEmbeddedPostgres, startEmbeddedPostgres } from '../ledger/embedded-postgres';
import { migrate } from '../ledger/migrate';
import { activatePolicy } from '../ledger/policies';
import { enrolWorker } from '../ledger/enrol-worker';
import { authenticateWorker } from '../ledger/workers';
import { interleaved, pairLine, type PairSample } from './measure';

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
  alone: PairSample;
  together: PairSample;
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
    const bare = (lane: number): Promise<unknown> => db.query(BARE, [lane]);
    const ours = async (lane: number): Promise<void> => {
      const answer = await authorizeCapability(db, { tenantId: 'default', actor: 'token:bench' }, subjects[lane]!);
      if (!answer.allowed) throw new Error(`refused: ${answer.reason}`);
    };
    log('authorizing');
    const settings = { rounds, perRound: 200, warmUp: 50 };
    const alone = await interleaved({ bare, ours }, { ...settings, inFlight: 1 });
    const together = await interleaved({ bare, ours }, { ...settings, inFlight: LANES });
    return { alone, together, report: reportOf({ alone, together }) };
  } finally {
    await db.close();
    await removeEmbeddedPostgres(folder);
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

function reportOf({ alone, together }: Pick<AuthorizeResult, 'alone' | 'together'>): string {
  const names = { ours: 'authorize', bare: 'bare UPDATE … RETURNING' };
  const goal = ' (goal p50 and p99 at most 2)';
  return [pairLine('one at a time', names, alone) + goal, pairLine('ten at once  ', names, together) + goal].join('\n');
}
