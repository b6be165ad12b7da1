import { evaluatePolicy } from '../domain/policy/evaluate';
import { parsePolicy } from '../domain/policy/parse';
import { acceptEvent } from '../ledger/accept';
import { admit } from '../ledger/admission';
import type { Database } from '../ledger/database';
import { enrolWorker } from '../ledger/enrol-worker';
import { activatePolicy } from '../ledger/policies';
import { authenticateWorker, type WorkerPrincipal } from '../ledger/workers';

const POLICY = `version: 1
default: { decision: ignore }
rules:
  - { id: bench, when: "true", decision: dispatch, to: { executor: managed } }
`;

/** Makes the policy that gives every event to managed workers. Returns what admits one event and says its workload. */
export async function managedWork(db: Database): Promise<(eventId: string) => Promise<string>> {
  const { policy } = parsePolicy(POLICY);
  await activatePolicy(db, 'default', { source: POLICY, hash: policy.hash }, 'bench');
  return async (eventId) => {
    const event = { source: 'bench', action: 'run', event_id: eventId, data: {} };
    const { workloadId } = await acceptEvent(db, 'default', event, 'bench');
    await admit(db, (_, given, tenant) => Promise.resolve(evaluatePolicy(policy, given, { tenant })), workloadId);
    return workloadId;
  };
}

export interface BenchWorker {
  principal: WorkerPrincipal;
  bearer: string;
}

export async function enrolled(db: Database, index: number): Promise<BenchWorker> {
  const { plaintext } = await enrolWorker(db, {
    workerId: `bench-worker-${index}`,
    poolId: 'default',
    maxOpenDeliveries: 1000,
    actor: 'bench',
  });
  const bearer = plaintext.reveal();
  return { principal: (await authenticateWorker(db, bearer))!, bearer };
}
