import { parseDuration } from '../../contracts/duration';
import { newWorker, type CredentialRecord } from '../../contracts/managed-workers';
import type { Secret } from '../../contracts/secret';
import { dutyOf } from '../../domain/worker-moves';
import type { Database } from '../../ledger/database';
import { registerWorker } from '../../ledger/register-worker';
import { issueCredential, listCredentials, rotateCredential } from '../../ledger/worker-credentials';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { knownPool, knownWorker, ledgerTime } from '../fleet/known';
import { secondsText } from '../fleet/texts';
import { credentialState } from '../fleet/worker-report';
import { withLedger } from '../ledger-access';
import { handOut, requireOutput, type SecretOutput } from '../secret-output';
import { checkedWish } from '../wish';

const ACTOR = { actor: 'cli' };

interface CredentialArguments extends SecretOutput {
  /** Life of the new credential. */
  expires?: string;
  json?: boolean;
}

/** Arguments of `workers register`. */
export interface RegisterArguments extends CredentialArguments {
  displayName?: string;
  region?: string;
}

/** `workloadd workers register` */
export async function runWorkerRegister(
  config: ConfigOf<'workers register'>,
  workerId: string,
  args: RegisterArguments,
): Promise<void> {
  requireOutput(args);
  const life = lifeOf(args.expires);
  const wish = checkedWish(newWorker, {
    worker_id: workerId,
    pool_id: config.pool,
    display_name: args.displayName ?? workerId,
    region: args.region,
    max_open_deliveries: config.maxOpenDeliveries,
  });
  const { worker, pool, issued } = await withLedger(config, async (db) => {
    const pool = await knownPool(db, config.pool);
    return db.transaction(async (tx) => ({
      pool,
      worker: await registerWorker(tx, wish, ACTOR),
      issued: await issueCredential(tx, workerId, life, ACTOR),
    }));
  });
  const next = [
    `worker ${workerId} is registered in pool ${worker.pool_id}; it is ${worker.status}`,
    pool.auto_activate
      ? 'it becomes active with its first heartbeat'
      : `it gets no work before \`workloadd workers activate ${workerId}\``,
  ];
  giveAway(issued, args, { worker }, next);
}

/** Arguments of `workers rotate`. */
export interface RotateArguments extends CredentialArguments {
  /** Which one; needed when several are live. */
  credential?: string;
  overlap: string;
}

/** `workloadd workers rotate` */
export async function runWorkerRotate(
  config: ConfigOf<'workers rotate'>,
  workerId: string,
  args: RotateArguments,
): Promise<void> {
  requireOutput(args);
  const overlapMs = parseDuration(args.overlap);
  if (overlapMs === null || overlapMs > MAX_OVERLAP_MS) {
    throw new CommandFailed('--overlap must be a duration up to 7d, for example 10m; 0s is none', EXIT.usage);
  }
  const life = lifeOf(args.expires);
  const { issued, old } = await withLedger(config, async (db) => {
    const credentialId = args.credential ?? (await onlyLive(db, workerId));
    const issued = await rotateCredential(db, workerId, credentialId, { ...life, overlapMs }, ACTOR);
    const old = (await listCredentials(db, workerId)).find(({ credential_id }) => credential_id === credentialId)!;
    return { issued, old };
  });
  giveAway(issued, args, { replaces: old }, [
    `credential ${old.credential_id} is good until ${secondsText(old.expires_at)}`,
  ]);
}

const MAX_OVERLAP_MS = 7 * 86_400_000;

/** The credential that is meant when none is named. */
async function onlyLive(db: Database, workerId: string): Promise<string> {
  const worker = await knownWorker(db, workerId);
  if (dutyOf(worker.status) === 'stop') {
    throw new CommandFailed(`worker ${workerId} is ${worker.status}, which is final: register another id`);
  }
  const now = await ledgerTime(db);
  const live = (await listCredentials(db, workerId)).filter(
    (each) => credentialState(each, worker.status, now) === 'live',
  );
  if (live.length === 1) return live[0]!.credential_id;
  const ids = live.map(({ credential_id }) => credential_id).join(', ');
  throw live.length === 0
    ? new CommandFailed(
        `worker ${workerId} has no live credential: \`workloadd worker enroll --worker-id ${workerId} --pool ${worker.pool_id}\` issues one`,
      )
    : new CommandFailed(
        `worker ${workerId} has ${live.length} live credentials: name one by --credential (${ids})`,
        EXIT.usage,
      );
}

/** Hands the plaintext over; alone on stdout when it is printed, so the rest is said on stderr then. */
function giveAway(
  { credential, plaintext }: { credential: CredentialRecord; plaintext: Secret },
  { json, out, print }: CredentialArguments,
  facts: object,
  lines: readonly string[],
): void {
  if (json) {
    if (out !== undefined) handOut(plaintext, { out }, null);
    const where = out === undefined ? { plaintext: plaintext.reveal() } : { file: out };
    console.log(JSON.stringify({ ...facts, credential, ...where }));
    return;
  }
  handOut(plaintext, { out, print }, `credential ${credential.credential_id} of worker ${credential.worker_id}`);
  const say = out === undefined ? console.error : console.log;
  for (const line of [...lines, `it expires at ${secondsText(credential.expires_at)}`]) say(line);
}

function lifeOf(text: string | undefined): { expiresAt?: string } {
  if (text === undefined) return {};
  const milliseconds = parseDuration(text);
  if (milliseconds !== null && milliseconds > 0)
    return { expiresAt: new Date(Date.now() + milliseconds).toISOString() };
  throw new CommandFailed('--expires must be a duration such as 90d or 12h', EXIT.usage);
}
