import path from 'node:path';
import { FolderStore } from '../../api/artifacts/folder-store';
import type { OutputStream } from '../../contracts/artifacts';
import type { FinishRequest } from '../../contracts/worker-protocol';
import { completeArtifacts } from '../../ledger/artifacts';
import { enrolWorker } from '../../ledger/enrol-worker';
import { anEvent, DISPATCH_ALL, startTestApi, type Answer, type TestApi } from './api-server';
import { temporaryFolder } from './temporary-folder';

/** A delivery that is under way, and what its worker needs to send output. */
export interface Printing {
  workId: string;
  lease: string;
}

/** A worker that hands work over through the API and sends what it printed. */
export class PrintingWorker {
  private constructor(
    private readonly api: TestApi,
    readonly workerId: string,
    readonly credential: string,
  ) {}

  static async enrol(api: TestApi, workerId: string): Promise<PrintingWorker> {
    const worker = { workerId, poolId: 'default', maxOpenDeliveries: 100, actor: 'test' };
    return new PrintingWorker(api, workerId, (await enrolWorker(api.db, worker)).plaintext.reveal());
  }

  /** Posts an event and lets policy decide it. */
  async queued(eventId: string): Promise<string> {
    const { workload_id: id } = (await this.api.ask('POST', '/api/events', { json: anEvent(eventId) })).body;
    await this.api.admit(id);
    return id;
  }

  /** Takes a workload over: from here on its output can be sent. */
  async started(workId: string): Promise<Printing> {
    const { text } = await this.post('claims', { work_id: workId });
    const { lease_token: lease } = JSON.parse(text) as { lease_token: string };
    await this.post(`leases/${workId}/intent`, { intent_key: workId }, lease);
    return { workId, lease };
  }

  async printing(eventId: string): Promise<Printing> {
    return this.started(await this.queued(eventId));
  }

  /** One append. */
  append(
    { workId, lease }: Printing,
    offset: number,
    bytes: Uint8Array | string,
    { stream = 'stdout', url }: { stream?: OutputStream; url?: string } = {},
  ): Promise<Answer> {
    return this.api.ask(
      'POST',
      `/api/workers/${this.workerId}/leases/${workId}/output?stream=${stream}&offset=${offset}`,
      {
        token: this.credential,
        raw: Uint8Array.from(Buffer.from(bytes as string)),
        headers: { 'Lease-Token': lease, 'content-type': 'application/octet-stream' },
        ...(url !== undefined && { url }),
      },
    );
  }

  /** The delivery has ended, and so many bytes were printed. */
  async ends(
    { workId }: Printing,
    status: 'completed' | 'failed',
    output: FinishRequest['output'] = {},
  ): Promise<void> {
    const record = { event_id: `end-${workId}`, delivery_id: workId, status, occurred_at: '2026-01-01T00:00:00Z' };
    await this.api.db.transaction((tx) => completeArtifacts(tx, workId, 1, output));
    await this.post('lifecycle', { records: [record] });
  }

  private post(path: string, json: object, lease?: string): Promise<Answer> {
    return this.api.ask('POST', `/api/workers/${this.workerId}/${path}`, {
      token: this.credential,
      json,
      headers: lease === undefined ? {} : { 'Lease-Token': lease },
    });
  }
}

/** An api that keeps what is printed and dispatches every event, and a worker `w1`. */
export async function startPrinting(): Promise<{ api: TestApi; store: FolderStore; worker: PrintingWorker }> {
  const store = FolderStore.open(path.join(temporaryFolder(), 'artifacts'));
  const api = await startTestApi({ artifacts: store });
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
  return { api, store, worker: await PrintingWorker.enrol(api, 'w1') };
}
