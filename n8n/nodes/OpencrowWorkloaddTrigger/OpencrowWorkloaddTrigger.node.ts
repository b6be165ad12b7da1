import { NodeConnectionTypes, NodeOperationError } from 'n8n-workflow';
import type {
  IDataObject,
  IHookFunctions,
  INodeType,
  INodeTypeDescription,
  IWebhookFunctions,
  IWebhookResponseData,
} from 'n8n-workflow';
import {
  createSubscription,
  deleteSubscription,
  getSubscription,
  listOf,
  newSubscriptionOf,
  tells,
} from '../../shared/subscriptions';
import { checkSignature } from '../../shared/webhook-signature';
import { ask, errorOf, send } from '../api-call';
import { toldStateOptions } from '../OpencrowWorkloadd/description/workload';

/** What the trigger keeps in the workflow's static data. */
interface Kept {
  subscriptionId?: string;
  secret?: string;
}

/** Starts a workflow when a workload ends. It subscribes itself and takes signed callbacks only. */
export class OpencrowWorkloaddTrigger implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Opencrow Workloadd Trigger',
    name: 'opencrowWorkloaddTrigger',
    icon: {
      light: 'file:../../icons/opencrow-workloadd.svg',
      dark: 'file:../../icons/opencrow-workloadd.dark.svg',
    },
    group: ['trigger'],
    version: 1,
    subtitle: '={{ ($parameter.states ?? []).join(", ") || "any end" }}',
    description: 'Starts the workflow when a workload ends, is lost or is corrected',
    defaults: { name: 'Opencrow Workloadd Trigger' },
    inputs: [],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'opencrowWorkloaddApi', required: true }],
    webhooks: [{ name: 'default', httpMethod: 'POST', responseMode: 'onReceived', path: 'workload' }],
    properties: [
      {
        displayName:
          'The service must be allowed to call the address of this n8n: see "callback" in its configuration. It calls at least once, so use webhook_id to tell repeats.',
        name: 'notice',
        type: 'notice',
        default: '',
      },
      {
        displayName: 'States',
        name: 'states',
        type: 'multiOptions',
        options: toldStateOptions,
        default: [],
        description: 'States that start the workflow; none means every end. Held asks for an approval.',
      },
      {
        displayName: 'Sources',
        name: 'sources',
        type: 'string',
        default: '',
        placeholder: 'rss, github',
        description: 'Sources whose workloads count, separated by commas; empty means all',
      },
      {
        displayName: 'Rules',
        name: 'rules',
        type: 'string',
        default: '',
        placeholder: 'triage-starred-rss',
        description: 'IDs of policy rules whose workloads count, separated by commas; empty means all',
      },
      {
        displayName: 'Clock Tolerance (Seconds)',
        name: 'toleranceSeconds',
        type: 'number',
        typeOptions: { minValue: 1 },
        default: 300,
        description: 'How old a signature may be',
      },
    ],
  };

  webhookMethods = {
    default: {
      async checkExists(this: IHookFunctions): Promise<boolean> {
        const kept = this.getWorkflowStaticData('node') as Kept;
        if (!kept.subscriptionId || !kept.secret) return false;
        const answer = await send.call(this, getSubscription(kept.subscriptionId));
        if (answer.status === 404) return false;
        if (answer.status !== 200) throw errorOf.call(this, answer);
        return tells(answer.body, this.getNodeWebhookUrl('default') ?? '');
      },

      async create(this: IHookFunctions): Promise<boolean> {
        const url = this.getNodeWebhookUrl('default');
        if (!url) throw new NodeOperationError(this.getNode(), 'n8n gave this trigger no address');
        const request = createSubscription(url, {
          states: this.getNodeParameter('states', []) as string[],
          sources: listOf(this.getNodeParameter('sources', '') as string),
          rules: listOf(this.getNodeParameter('rules', '') as string),
        });
        const created = newSubscriptionOf(await ask.call(this, request));
        if (!created) throw new NodeOperationError(this.getNode(), 'The service answered without a subscription');
        Object.assign(this.getWorkflowStaticData('node'), created);
        return true;
      },

      async delete(this: IHookFunctions): Promise<boolean> {
        const kept = this.getWorkflowStaticData('node') as Kept;
        if (kept.subscriptionId) {
          const answer = await send.call(this, deleteSubscription(kept.subscriptionId));
          if (answer.status > 299 && answer.status !== 404) throw errorOf.call(this, answer);
        }
        delete kept.subscriptionId;
        delete kept.secret;
        return true;
      },
    },
  };

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    const { secret } = this.getWorkflowStaticData('node') as Kept;
    const headers = this.getHeaderData() as Record<string, string | undefined>;
    const webhook = {
      id: headers['webhook-id'],
      timestamp: headers['webhook-timestamp'],
      signature: headers['webhook-signature'],
      body: this.getRequestObject().rawBody ?? Buffer.alloc(0),
    };
    const tolerance = this.getNodeParameter('toleranceSeconds', 300) as number;
    const verdict = secret ? checkSignature(webhook, secret, Math.floor(Date.now() / 1000), tolerance) : 'missing';
    if (verdict !== 'valid') {
      this.getResponseObject().status(401).json({ code: 'webhook.signature', detail: 'The signature is not valid' });
      return { noWebhookResponse: true };
    }
    const body = this.getBodyData() as IDataObject;
    return { workflowData: [this.helpers.returnJsonArray({ webhook_id: webhook.id, ...body })] };
  }
}
