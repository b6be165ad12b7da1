import { mkdir, open, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Secret } from '../../contracts/secret';
import type { Lease } from '../control-plane-answers';

/**
 * How far a delivery came. `claimed`: nothing promised. `intended`: the intent may be recorded and the line may be written.
 * The other three are the outcome of the write, not yet known to the control plane.
 */
export const LEASE_PHASES = ['claimed', 'intended', 'written', 'unknown', 'not_delivered'] as const;
export type LeasePhase = (typeof LEASE_PHASES)[number];

const leaseFile = z.object({
  work_id: z.string(),
  epoch: z.number(),
  lease_token: z.string(),
  delivery_id: z.string(),
  phase: z.enum(LEASE_PHASES),
  detail: z.string().optional(),
});

/** One lease that this worker holds, as kept on disk. */
export interface HeldLease {
  lease: Lease;
  deliveryId: string;
  phase: LeasePhase;
  /** Why the write is unknown or did not happen. */
  detail?: string;
}

/**
 * The leases a worker holds, one file each (0600 in a folder 0700, since a file holds the lease's token), so that a
 * restarted worker can say what it knows of them.
 */
export class LeaseFolder {
  constructor(private readonly folder: string) {}

  /** Makes the folder and removes what an interrupted save left. */
  async prepare(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.folder)) {
      if (name.endsWith('.tmp')) await rm(join(this.folder, name), { force: true });
    }
  }

  /**
   * Stores a lease in one step. `durable` also survives a power cut; without it, it survives the end of the process,
   * and an older phase after a power cut only means that less is known.
   */
  async save(held: HeldLease, options: { durable: boolean }): Promise<void> {
    const path = this.#path(held.lease);
    const text = JSON.stringify({
      work_id: held.lease.workId,
      epoch: held.lease.epoch,
      lease_token: held.lease.token.reveal(),
      delivery_id: held.deliveryId,
      phase: held.phase,
      ...(held.detail === undefined ? {} : { detail: held.detail }),
    });
    await writeFile(`${path}.tmp`, text, { mode: 0o600, flush: options.durable });
    await rename(`${path}.tmp`, path);
    if (options.durable) await syncFolder(this.folder);
  }

  /** The lease is over, or the control plane knows all there is to know. */
  async drop(lease: Lease): Promise<void> {
    await rm(this.#path(lease), { force: true });
  }

  /** All leases held, and the names of files that could not be read (they were set aside as `*.unreadable`). */
  async list(): Promise<{ held: HeldLease[]; unreadable: string[] }> {
    const held: HeldLease[] = [];
    const unreadable: string[] = [];
    for (const name of (await readdir(this.folder)).filter((file) => file.endsWith('.json'))) {
      const path = join(this.folder, name);
      const parsed = leaseFile.safeParse(parseJson(await readFile(path, 'utf8')));
      if (parsed.success) held.push(toHeldLease(parsed.data));
      else {
        await rename(path, `${path}.unreadable`);
        unreadable.push(name);
      }
    }
    return { held, unreadable };
  }

  /** The epoch is part of the name: a late drop of an old lease cannot remove the file of a newer one. */
  #path(lease: Lease): string {
    return join(this.folder, `${encodeURIComponent(lease.workId)}.${lease.epoch}.json`);
  }
}

function toHeldLease(file: z.infer<typeof leaseFile>): HeldLease {
  return {
    lease: { workId: file.work_id, epoch: file.epoch, token: new Secret(file.lease_token) },
    deliveryId: file.delivery_id,
    phase: file.phase,
    ...(file.detail === undefined ? {} : { detail: file.detail }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
