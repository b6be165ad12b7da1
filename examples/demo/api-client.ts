import { z } from 'zod';
import { workloadRecord, workloadSummary } from '../../contracts/workload-record';
import type { WorkloadRecord, WorkloadSummaryRecord } from '../../contracts/workload-record';
import type { SourceEvent } from '../../contracts/events';

const postAnswer = z.object({ workload_id: z.string(), duplicate: z.boolean() });
const page = z.object({ workloads: z.array(workloadSummary) });

/** What a connector and an operator ask of the api. */
export class ApiClient {
  constructor(
    private readonly baseUrl: string,
    private readonly token: string,
  ) {}

  /** Posts an event. `waitSeconds` > 0 waits for the decision. */
  async post(event: SourceEvent, waitSeconds: number): Promise<z.infer<typeof postAnswer>> {
    const headers = waitSeconds > 0 ? { prefer: `wait=${waitSeconds}` } : {};
    return postAnswer.parse(await this.#request('POST', '/api/events', event, headers));
  }

  /** The newest 500 workloads. */
  async list(): Promise<WorkloadSummaryRecord[]> {
    return page.parse(await this.#request('GET', '/api/workloads?limit=500')).workloads;
  }

  async record(workloadId: string): Promise<WorkloadRecord> {
    return workloadRecord.parse(await this.#request('GET', `/api/workloads/${workloadId}`));
  }

  async act(workloadId: string, action: string, body: object): Promise<void> {
    await this.#request('POST', `/api/workloads/${workloadId}/${action}`, body);
  }

  async #request(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<unknown> {
    const response = await fetch(this.baseUrl + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text.slice(0, 500)}`);
    return JSON.parse(text) as unknown;
  }
}
