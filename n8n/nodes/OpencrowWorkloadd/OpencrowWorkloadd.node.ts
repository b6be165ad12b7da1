import { NodeApiError, NodeConnectionTypes, NodeOperationError } from 'n8n-workflow';
import type { IExecuteFunctions, INodeExecutionData, INodeType, INodeTypeDescription, JsonObject } from 'n8n-workflow';
import { RequestError } from '../../shared/api-request';
import { dispatchBatch } from './batch';
import { capabilityProperties } from './description/capability';
import { eventProperties } from './description/event';
import { sourceStateProperties } from './description/source-state';
import { workloadProperties } from './description/workload';
import { OPERATIONS } from './operations';

/** One output; two where a refused capability takes a way of its own. */
const OUTPUTS = `={{ $parameter.resource === 'capability' && $parameter.onRefusal !== 'fail'
  ? [{ type: '${NodeConnectionTypes.Main}', displayName: 'Allowed' }, { type: '${NodeConnectionTypes.Main}', displayName: 'Denied' }]
  : [{ type: '${NodeConnectionTypes.Main}' }] }}` as const;

/** Everything that a connector, a context webhook or an operator's workflow asks of the service. */
export class OpencrowWorkloadd implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Opencrow Workloadd',
    name: 'opencrowWorkloadd',
    icon: {
      light: 'file:../../icons/opencrow-workloadd.svg',
      dark: 'file:../../icons/opencrow-workloadd.dark.svg',
    },
    group: ['transform'],
    version: 1,
    subtitle: '={{ $parameter.operation + ": " + $parameter.resource }}',
    description: 'Post source events, follow and decide workloads, authorize capabilities, keep cursors',
    defaults: { name: 'Opencrow Workloadd' },
    usableAsTool: true,
    inputs: [NodeConnectionTypes.Main],
    outputs: OUTPUTS,
    credentials: [{ name: 'opencrowWorkloaddApi', required: true }],
    properties: [
      {
        displayName: 'Resource',
        name: 'resource',
        type: 'options',
        noDataExpression: true,
        options: [
          { name: 'Capability', value: 'capability' },
          { name: 'Event', value: 'event' },
          { name: 'Source State', value: 'sourceState' },
          { name: 'Workload', value: 'workload' },
        ],
        default: 'event',
      },
      ...capabilityProperties,
      ...eventProperties,
      ...sourceStateProperties,
      ...workloadProperties,
    ],
  };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const items = this.getInputData();
    const resource = this.getNodeParameter('resource', 0) as string;
    const operation = this.getNodeParameter('operation', 0) as string;
    const outputs: INodeExecutionData[][] =
      resource === 'capability' && this.getNodeParameter('onRefusal', 0) !== 'fail' ? [[], []] : [[]];

    if (resource === 'event' && operation === 'dispatchBatch') {
      try {
        return [await dispatchBatch.call(this, items.length)];
      } catch (error) {
        const failure = failureOf.call(this, error);
        if (!this.continueOnFail()) throw failure;
        return [
          items.map(({ json }, item) => ({
            json: { ...json, ...errorJson(failure) },
            error: failure,
            pairedItem: { item },
          })),
        ];
      }
    }

    for (let item = 0; item < items.length; item += 1) {
      try {
        const run = OPERATIONS[`${resource}.${operation}`];
        if (!run) throw new NodeOperationError(this.getNode(), `There is no operation ${operation} of ${resource}`);
        const { output, results } = await run.call(this, item);
        outputs[output]?.push(...results.map((json) => ({ json, pairedItem: { item } })));
      } catch (error) {
        const failure = failureOf.call(this, error, item);
        if (!this.continueOnFail()) throw failure;
        // What came in goes on, so that it can be tried again; but no token, and never by the output that means "allowed".
        const kept = resource === 'capability' ? {} : items[item]?.json;
        outputs.at(-1)?.push({ json: { ...kept, ...errorJson(failure) }, error: failure, pairedItem: { item } });
      }
    }
    return outputs;
  }
}

type NodeFailure = NodeApiError | NodeOperationError;

function failureOf(this: IExecuteFunctions, error: unknown, itemIndex?: number): NodeFailure {
  if (error instanceof NodeApiError || error instanceof NodeOperationError) return error;
  const at = itemIndex === undefined ? {} : { itemIndex };
  if (error instanceof RequestError) return new NodeOperationError(this.getNode(), error.message, at);
  return new NodeApiError(this.getNode(), error as JsonObject, at);
}

const errorJson = (error: NodeFailure): { error: string; description: string } => ({
  error: error.message,
  description: error.description ?? '',
});
