import type { CredentialRecord, HeartbeatRecord, WorkerRecord } from '../../contracts/managed-workers';
import type { WorkerState } from '../../contracts/terminology';
import { dutyOf } from '../../domain/worker-moves';
import type { Database } from '../../ledger/database';
import { heldWork, type HeldWork } from '../../ledger/held-work';
import { listCredentials } from '../../ledger/worker-credentials';
import { lastHeartbeat, listWorkers } from '../../ledger/worker-list';
import type { Report } from '../report';
import { table } from '../table';
import { knownPool, knownWorker, ledgerTime } from './known';
import { ageText, listText, secondsText, short, sinceText } from './texts';

/** Workers that one list shows, at most. */
const LIST_LIMIT = 1000;
const [REASON_WIDTH, ERROR_WIDTH] = [50, 30];

/** Which workers to list. */
export interface WorkerChoice {
  pool?: string | undefined;
  state?: WorkerState | undefined;
}

/** Workers and how they are, by pool. */
export async function workersReport(db: Database, { pool, state }: WorkerChoice = {}): Promise<Report> {
  const found = await listWorkers(db, { poolId: pool, status: state, limit: LIST_LIMIT + 1 });
  const workers = found.slice(0, LIST_LIMIT);
  const more = found.length > workers.length;
  const text = workersTable(workers, await ledgerTime(db));
  return {
    text: more ? `${text}\n… there are more: see one pool with --pool, or one state with --state` : text,
    json: { workers, more },
  };
}

/** A table of workers. */
export function workersTable(workers: readonly WorkerRecord[], now: Date): string {
  const head = [
    'WORKER',
    'POOL',
    'STATE',
    'OFFERS',
    'OPEN',
    'LOAD',
    'HEARTBEAT',
    'VERSION',
    'SUSPECT',
    'ERROR',
    'REASON',
  ];
  const rows = workers.map((worker) => [
    worker.worker_id,
    worker.pool_id,
    worker.status,
    offersOf(worker).join(','),
    `${worker.open_deliveries}/${worker.max_open_deliveries}`,
    String(worker.current_load),
    ageText(worker.last_heartbeat_at, now),
    worker.version ?? '-',
    worker.suspect_since === null ? '-' : ageText(worker.suspect_since, now),
    short(worker.last_error_code ?? '-', ERROR_WIDTH),
    short(worker.status_reason ?? '-', REASON_WIDTH),
  ]);
  return table(head, rows);
}

const offersOf = ({ executors }: WorkerRecord): readonly string[] => executors ?? ['opencrow'];

/** All that there is to know of a worker, without a secret. */
export async function workerReport(db: Database, workerId: string): Promise<Report> {
  const worker = await knownWorker(db, workerId);
  const pool = await knownPool(db, worker.pool_id);
  const heartbeat = await lastHeartbeat(db, workerId);
  const credentials = await listCredentials(db, workerId);
  const held = await heldWork(db, [workerId]);
  const now = await ledgerTime(db);
  return {
    json: { worker, heartbeat, credentials, held },
    text: [
      factsTable([
        ...stateFacts(worker, pool.status, now),
        ...declaredFacts(worker, heartbeat, now),
        ['suspect slot', suspectText(worker, now)],
        [
          'last error',
          [worker.last_error_code, worker.last_error_summary].filter((part) => part !== null).join(': ') || '-',
        ],
      ]),
      heldTable(held, now),
      credentialTable(credentials, worker.status, now),
    ].join('\n\n'),
  };
}

/** Names and values, a line each. */
export const factsTable = ([first, ...rest]: readonly (readonly string[])[]): string => table(first!, rest);

const stateFacts = (worker: WorkerRecord, poolStatus: string, now: Date): string[][] => [
  [
    'worker',
    worker.display_name === worker.worker_id ? worker.worker_id : `${worker.worker_id} (${worker.display_name})`,
  ],
  ['pool', `${worker.pool_id} (${poolStatus})${worker.tenant_id === null ? '' : `, of tenant ${worker.tenant_id}`}`],
  ['state', `${worker.status} since ${sinceText(worker.status_changed_at, now)}`],
  ['reason', worker.status_reason ?? '-'],
  ['has to', dutyOf(worker.status)],
  ['open', `${worker.open_deliveries} of ${worker.max_open_deliveries}, load ${worker.current_load} as it says`],
];

const declaredFacts = (worker: WorkerRecord, heartbeat: HeartbeatRecord | null, now: Date): string[][] => [
  [
    'heartbeat',
    heartbeat === null ? 'never' : `${sinceText(heartbeat.received_at, now)}, number ${heartbeat.sequence ?? '-'}`,
  ],
  [
    'version',
    `${worker.version ?? '-'}, runtime ${worker.runtime_version ?? '-'}, protocol ${worker.protocol_version ?? '-'}`,
  ],
  ['region', worker.region ?? '-'],
  ['offers', listText(offersOf(worker))],
  ['capabilities', JSON.stringify(worker.capabilities)],
  ['checkpoint schemas', listText(worker.checkpoint_schemas)],
  ['event contracts', listText(worker.event_contracts)],
  ['works on', heartbeat === null ? '-' : listText(heartbeat.active_work_ids)],
];

function suspectText({ suspect_since, suspect_probe_at }: WorkerRecord, now: Date): string {
  if (suspect_since === null) return 'no';
  const probe = suspect_probe_at === null ? '' : `, next probe at ${secondsText(suspect_probe_at)}`;
  return `since ${sinceText(suspect_since, now)}${probe}`;
}

function heldTable(held: readonly HeldWork[], now: Date): string {
  if (held.length === 0) return 'It holds no work.';
  const until = (at: Date | null): string =>
    at === null ? '-' : `${secondsText(at.toISOString())} (in ${ageText(now.toISOString(), at)})`;
  const rows = held.map(({ work_id, epoch, lease_until, delivery, slot_until }) => [
    work_id,
    String(epoch ?? '-'),
    until(lease_until),
    String(delivery ?? '-'),
    until(slot_until),
  ]);
  return table(['HOLDS', 'EPOCH', 'LEASE UNTIL', 'DELIVERY', 'SLOT UNTIL'], rows);
}

function credentialTable(credentials: readonly CredentialRecord[], status: WorkerState, now: Date): string {
  if (credentials.length === 0) return 'It has no credential.';
  const rows = credentials.map((credential) => [
    credential.credential_id,
    credential.last4 === null ? '-' : `…${credential.last4}`,
    credentialState(credential, status, now),
    secondsText(credential.expires_at),
    credential.last_used_at === null ? 'never' : ageText(credential.last_used_at, now),
    credential.rotated_from_credential_id ?? '-',
    credential.scopes.join(','),
  ]);
  return table(['CREDENTIAL', 'ENDS IN', 'STATE', 'EXPIRES', 'USED', 'REPLACES', 'SCOPES'], rows);
}

/** Whether a credential opens anything; `shut out`: it would, but not for a worker in this state. */
export function credentialState(
  { revoked_at, expires_at }: CredentialRecord,
  status: WorkerState,
  now: Date,
): 'live' | 'expired' | 'revoked' | 'shut out' {
  if (revoked_at !== null) return 'revoked';
  if (Date.parse(expires_at) <= now.getTime()) return 'expired';
  return dutyOf(status) === 'stop' ? 'shut out' : 'live';
}
