import { NodeOperationError, sleep } from 'n8n-workflow';
import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import { jsonOf } from '../../shared/api-request';
import { authorize, isRefusal } from '../../shared/capabilities';
import { eventOf, postEvent } from '../../shared/events';
import { deleteState, documentOf, expectationOf, getState, putState } from '../../shared/source-state';
import type { StateExpectation } from '../../shared/source-state';
import {
  actOnWorkload,
  explainWorkload,
  getWorkload,
  hasEnded,
  idempotencyKeyOf,
  listWorkloads,
  pageOf,
  pollDelay,
} from '../../shared/workloads';
import type { AuthorizeFields } from '../../shared/capabilities';
import type { WorkloadAction } from '../../shared/workloads';
import { ask, errorOf, send } from '../api-call';

/** What an operation gives for one item: its results, and by which output they leave. */
export interface Outcome {
  output: number;
  results: IDataObject[];
}

type Operation = (this: IExecuteFunctions, item: number) => Promise<Outcome>;

const PAGE = 200;

/** Every operation that works item by item, as `resource.operation`. */
export const OPERATIONS: Record<string, Operation> = {
  'event.dispatch': async function (item) {
    const seconds = this.getNodeParameter('waitSeconds', item, 0) as number;
    return only(await ask.call(this, postEvent(eventFieldsOf.call(this, item), seconds), item));
  },
  'workload.get': async function (item) {
    return only(await ask.call(this, getWorkload(text.call(this, 'workloadId', item)), item));
  },
  'workload.explain': async function (item) {
    return only(await ask.call(this, explainWorkload(text.call(this, 'workloadId', item)), item));
  },
  'workload.getAll': listAll,
  'workload.wait': waitUntilEnded,
  'workload.approve': actionOf('approve'),
  'workload.cancel': actionOf('cancel'),
  'workload.deny': actionOf('deny'),
  'workload.replay': actionOf('replay'),
  'capability.authorize': authorizeUse,
  'sourceState.get': async function (item) {
    const [source, key] = [text.call(this, 'source', item), text.call(this, 'key', item)];
    const answer = await send.call(this, getState(source, key), item);
    if (answer.status !== 200 && answer.status !== 404) throw errorOf.call(this, answer, item);
    const missing = jsonOf(this.getNodeParameter('defaultValue', item, null), 'Value When Missing');
    return only(documentOf(answer, source, key, missing));
  },
  'sourceState.put': async function (item) {
    const [source, key] = [text.call(this, 'source', item), text.call(this, 'key', item)];
    const request = putState(source, key, this.getNodeParameter('value', item), expectation.call(this, item));
    const answer = await send.call(this, request, item);
    if (answer.status < 200 || answer.status > 299) throw errorOf.call(this, answer, item);
    return only(documentOf(answer, source, key, null));
  },
  'sourceState.delete': async function (item) {
    const [source, key] = [text.call(this, 'source', item), text.call(this, 'key', item)];
    const expected = expectation.call(this, item);
    await ask.call(this, deleteState(source, key, expected.kind === 'missing' ? { kind: 'any' } : expected), item);
    return only({ source, key, deleted: true });
  },
};

/** The event of an item. */
export function eventFieldsOf(this: IExecuteFunctions, item: number): Record<string, unknown> {
  const { subject, occurredAt, callbackUrl } = this.getNodeParameter('additionalFields', item, {}) as IDataObject;
  return eventOf({
    source: this.getNodeParameter('source', item),
    action: this.getNodeParameter('action', item),
    eventId: this.getNodeParameter('eventId', item),
    data: this.getNodeParameter('data', item, {}),
    subject,
    occurredAt,
    callbackUrl,
  });
}

async function listAll(this: IExecuteFunctions, item: number): Promise<Outcome> {
  const filters = this.getNodeParameter('filters', item, {}) as IDataObject;
  const all = this.getNodeParameter('returnAll', item) as boolean;
  const limit = all ? Infinity : (this.getNodeParameter('limit', item) as number);
  const results: IDataObject[] = [];
  let cursor: string | undefined;
  do {
    const request = listWorkloads(filters, Math.min(PAGE, limit - results.length), cursor);
    const page = pageOf(await ask.call(this, request, item));
    results.push(...(page.items as IDataObject[]));
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined && results.length < limit);
  return { output: 0, results };
}

async function waitUntilEnded(this: IExecuteFunctions, item: number): Promise<Outcome> {
  const id = text.call(this, 'workloadId', item);
  const seconds = this.getNodeParameter('timeoutSeconds', item) as number;
  const until = Date.now() + seconds * 1000;
  for (let poll = 0; ; poll += 1) {
    const record = await ask.call(this, getWorkload(id), item);
    if (hasEnded(record)) return only(record);
    const left = until - Date.now();
    if (left <= 0) {
      if (this.getNodeParameter('onTimeout', item) === 'output') return only(record);
      const message = `The workload ${id} has not ended within ${seconds} seconds`;
      throw new NodeOperationError(this.getNode(), message, { itemIndex: item });
    }
    await sleep(Math.min(left, pollDelay(poll)));
  }
}

function actionOf(action: WorkloadAction): Operation {
  return async function (item) {
    const id = text.call(this, 'workloadId', item);
    const reason = text.call(this, 'reason', item);
    const own = text.call(this, 'idempotencyKey', item);
    const key = own === '' ? idempotencyKeyOf(this.getExecutionId(), this.getNode().id, action, id, reason) : own;
    return only(await ask.call(this, actOnWorkload(action, id, reason, key), item));
  };
}

async function authorizeUse(this: IExecuteFunctions, item: number): Promise<Outcome> {
  const request = authorize({
    token: this.getNodeParameter('capabilityToken', item) as string,
    hook: text.call(this, 'hook', item),
    kind: this.getNodeParameter('kind', item) as AuthorizeFields['kind'],
    operation: this.getNodeParameter('hookOperation', item) as string,
    resource: this.getNodeParameter('hookResource', item) as string,
    idempotencyKey: text.call(this, 'idempotencyKey', item),
  });
  const answer = await send.call(this, request, item);
  if (answer.status === 200) return only(answer.body);
  const branch = this.getNodeParameter('onRefusal', item) === 'branch';
  if (isRefusal(answer) && branch) return { output: 1, results: [answer.body as IDataObject] };
  throw errorOf.call(this, answer, item);
}

function expectation(this: IExecuteFunctions, item: number): StateExpectation {
  if (this.getNodeParameter('unconditional', item, false) === true) return { kind: 'any' };
  return expectationOf(this.getNodeParameter('ifMatch', item, ''));
}

function text(this: IExecuteFunctions, name: string, item: number): string {
  return String((this.getNodeParameter(name, item, '') as string | number | null) ?? '');
}

const only = (result: unknown): Outcome => ({ output: 0, results: [(result ?? {}) as IDataObject] });
