import type { INodeProperties } from 'n8n-workflow';

const displayOptions: INodeProperties['displayOptions'] = { show: { resource: ['capability'] } };

/** Operation and fields of capabilities: what a context or mutation webhook asks before it does anything. */
export const capabilityProperties: INodeProperties[] = [
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions,
    options: [
      {
        name: 'Authorize',
        value: 'authorize',
        description: 'Ask whether the holder of a capability token may do this now, and count the use',
        action: 'Authorize a capability',
      },
    ],
    default: 'authorize',
  },
  {
    displayName: 'Capability Token',
    name: 'capabilityToken',
    type: 'string',
    typeOptions: { password: true },
    required: true,
    default: '',
    placeholder: '={{ $json.body.capability_token }}',
    description: 'The token that the agent read in its trigger line',
    displayOptions,
  },
  {
    displayName: 'Hook',
    name: 'hook',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'context-rss',
    description: 'Name of this hook in the policy. Write it here; never take it from the request.',
    displayOptions,
  },
  {
    displayName: 'Hook Kind',
    name: 'kind',
    type: 'options',
    options: [
      { name: 'Context', value: 'context', description: 'The hook only reads' },
      { name: 'Mutation', value: 'mutation', description: 'The hook changes something' },
    ],
    default: 'context',
    description: 'What the hook does; a grant of one kind never opens a hook of the other',
    displayOptions,
  },
  {
    displayName: 'Hook Operation',
    name: 'hookOperation',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'show-entry',
    description: 'What the agent wants to do. What is done after this must be just this.',
    displayOptions,
  },
  {
    displayName: 'Hook Resource',
    name: 'hookResource',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'entry:1419',
    description: 'What the agent wants to do it with. What is done after this must be with just this.',
    displayOptions,
  },
  {
    displayName: 'Idempotency Key',
    name: 'idempotencyKey',
    type: 'string',
    default: '',
    description:
      'Attempts with the same key count as one use; the execution ID counts retries of this node once. Never take it from the request: an agent that repeats its key would not be counted.',
    displayOptions,
  },
  {
    displayName: 'When Refused',
    name: 'onRefusal',
    type: 'options',
    options: [
      {
        name: 'Use the Denied Output',
        value: 'branch',
        description: 'Allowed and denied items leave by outputs of their own',
      },
      { name: 'Fail', value: 'fail', description: 'A refusal is an error of this node' },
    ],
    default: 'branch',
    displayOptions,
  },
];
