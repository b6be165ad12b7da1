import type { INodeProperties } from 'n8n-workflow';

const show = (...operations: string[]): INodeProperties['displayOptions'] => ({
  show: { resource: ['event'], operation: operations },
});

/** Operations and fields of source events. */
export const eventProperties: INodeProperties[] = [
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['event'] } },
    options: [
      {
        name: 'Dispatch',
        value: 'dispatch',
        description: 'Post one source event; policy decides whether it becomes work',
        action: 'Dispatch an event',
      },
      {
        name: 'Dispatch Batch',
        value: 'dispatchBatch',
        description: 'Post all input items as events in as few calls as possible, and advance a cursor with them',
        action: 'Dispatch a batch of events',
      },
    ],
    default: 'dispatch',
  },
  {
    displayName: 'Source',
    name: 'source',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'rss',
    description: 'Where the event comes from',
    displayOptions: show('dispatch', 'dispatchBatch'),
  },
  {
    displayName: 'Action',
    name: 'action',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'triage',
    description: 'What happened or is asked for',
    displayOptions: show('dispatch', 'dispatchBatch'),
  },
  {
    displayName: 'Event ID',
    name: 'eventId',
    type: 'string',
    required: true,
    default: '',
    placeholder: '={{ $json.guid }}',
    description:
      "The source's own stable ID of the event. Never use the ID of the n8n execution: a retry would then be a new event.",
    displayOptions: show('dispatch', 'dispatchBatch'),
  },
  {
    displayName: 'Data (JSON)',
    name: 'data',
    type: 'json',
    default: '{}',
    description: 'A JSON object that policy reads as event.data',
    displayOptions: show('dispatch', 'dispatchBatch'),
  },
  {
    displayName: 'Additional Fields',
    name: 'additionalFields',
    type: 'collection',
    placeholder: 'Add Field',
    default: {},
    displayOptions: show('dispatch', 'dispatchBatch'),
    options: [
      {
        displayName: 'Callback URL',
        name: 'callbackUrl',
        type: 'string',
        default: '',
        placeholder: '={{ $execution.resumeUrl }}',
        description: 'Told by a signed POST when the workload has ended, for example the resume URL of a Wait node',
      },
      {
        displayName: 'Occurred At',
        name: 'occurredAt',
        type: 'dateTime',
        default: '',
        description: 'When it happened at the source',
      },
      {
        displayName: 'Subject',
        name: 'subject',
        type: 'string',
        default: '',
        placeholder: 'acme/api#12',
        description: 'What the event is about',
      },
    ],
  },
  {
    displayName: 'Wait for Decision (Seconds)',
    name: 'waitSeconds',
    type: 'number',
    typeOptions: { minValue: 0, maxValue: 20 },
    default: 0,
    description: 'How long to wait for what policy says; 0 does not wait',
    displayOptions: show('dispatch'),
  },
  {
    displayName: 'Advance State',
    name: 'state',
    type: 'fixedCollection',
    placeholder: 'Add State',
    default: {},
    description: 'A cursor that moves in the same transaction as the events, or not at all',
    displayOptions: show('dispatchBatch'),
    options: [
      {
        displayName: 'State',
        name: 'advance',
        values: [
          {
            displayName: 'Expected ETag',
            name: 'ifMatch',
            type: 'string',
            default: '',
            description: 'The ETag that was read, or empty when the state did not exist. Another one is a lost race.',
          },
          {
            displayName: 'Key',
            name: 'key',
            type: 'string',
            default: '',
            placeholder: 'cursor',
          },
          {
            displayName: 'Source',
            name: 'source',
            type: 'string',
            default: '',
            description: 'Whose state it is; empty means the source of the first event',
          },
          {
            displayName: 'Value (JSON)',
            name: 'value',
            type: 'json',
            default: '{}',
          },
        ],
      },
    ],
  },
  {
    displayName: 'On Refused Event',
    name: 'onRefused',
    type: 'options',
    options: [
      {
        name: 'Output It with Its Problem',
        value: 'output',
        description: 'The other events of the batch are accepted all the same, and the cursor moves past it',
      },
      {
        name: 'Fail',
        value: 'fail',
        description: 'Fail after the call; the other events are accepted nevertheless',
      },
    ],
    default: 'output',
    description: 'What to do about an event that the service refuses for good',
    displayOptions: show('dispatchBatch'),
  },
];
