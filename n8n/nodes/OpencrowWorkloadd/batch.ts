import { NodeApiError } from 'n8n-workflow';
import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { batchResults, postBatches } from '../../shared/events';
import type { StateAdvance } from '../../shared/events';
import { problemOf } from '../../shared/problem';
import { ask } from '../api-call';
import { eventFieldsOf } from './operations';

/** Posts all input items as events and gives one result per item. */
export async function dispatchBatch(this: IExecuteFunctions, itemCount: number): Promise<INodeExecutionData[]> {
  const events = Array.from({ length: itemCount }, (_unused, item) => eventFieldsOf.call(this, item));
  const failOnRefused = this.getNodeParameter('onRefused', 0) === 'fail';
  const results: INodeExecutionData[] = [];
  for (const batch of postBatches(events, stateAdvance.call(this))) {
    const body = (await ask.call(this, batch.request)) as IDataObject;
    for (const result of batchResults(body, batch.events)) {
      const item = results.length;
      if (result.status > 299 && failOnRefused) throw refused.call(this, result, item);
      const state = body['state'] === undefined ? {} : { source_state: body['state'] as IDataObject };
      results.push({ json: { ...(result as IDataObject), ...state }, pairedItem: { item } });
    }
  }
  return results;
}

function stateAdvance(this: IExecuteFunctions): StateAdvance | undefined {
  const { advance } = this.getNodeParameter('state', 0, {}) as { advance?: StateAdvance };
  return advance;
}

function refused(
  this: IExecuteFunctions,
  result: { status: number; problem?: unknown },
  itemIndex: number,
): NodeApiError {
  const problem = problemOf({ status: result.status, headers: {}, body: result.problem });
  return new NodeApiError(this.getNode(), { ...problem }, { ...problem, itemIndex });
}
