import type { ControlActivities, WorkloadView } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import { admit } from '../ledger/admission';
import type { Database } from '../ledger/database';
import { sweepFleet, type FleetSettings } from '../ledger/fleet-sweep';
import { settle } from '../ledger/settlement';
import type { LanePump } from './lane-pump';
import { PolicyCache } from './policy-cache';

export interface ControlActivityOptions {
  db: Database;
  lanes: LanePump;
  /** First wait before a suspect slot is probed, milliseconds. */
  suspectBackoffMs: number;
  sweeps: { fleet: FleetSettings };
}

/** The control worker's activities: each is a few short ledger transactions, safe to run again at any time. */
export function createControlActivities({
  db,
  lanes,
  suspectBackoffMs,
  sweeps,
}: ControlActivityOptions): ControlActivities {
  const policies = new PolicyCache();
  const settled = (workloadId: string): Promise<WorkloadView | null> => settle(db, workloadId, suspectBackoffMs);
  /** Lets the lanes move that wait for this workload, or it for them. Most workloads are in none. */
  const inTurn = async (view: WorkloadView | null): Promise<WorkloadView | null> => {
    if (!view?.laned) return view;
    await lanes.pumpFor(view.workload_id);
    return view.state === 'queued' && view.next === 'wait' ? settled(view.workload_id) : view;
  };
  return {
    async admit(workloadId) {
      const view = await admit(db, policies.evaluate, workloadId);
      debugPoint('admit-committed');
      return inTurn(view);
    },
    settle: async (workloadId) => inTurn(await settled(workloadId)),
    sweepFleet: () => sweepFleet(db, sweeps.fleet),
  };
}
