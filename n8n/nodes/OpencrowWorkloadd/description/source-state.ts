import type { INodeProperties } from 'n8n-workflow';

const show = (...operations: string[]): INodeProperties['displayOptions'] => ({
  show: { resource: ['sourceState'], operation: operations },
});

/** Operations and fields of source states: small documents of a connector with compare-and-set. */
export const sourceStateProperties: INodeProperties[] = [
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['sourceState'] } },
    options: [
      {
        name: 'Delete',
        value: 'delete',
        description: 'Delete the state of a source',
        action: 'Delete a source state',
      },
      { name: 'Get', value: 'get', description: 'Get the state of a source', action: 'Get a source state' },
      { name: 'Put', value: 'put', description: 'Write the state of a source', action: 'Put a source state' },
    ],
    default: 'get',
  },
  {
    displayName: 'Source',
    name: 'source',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'rss',
    displayOptions: show('delete', 'get', 'put'),
  },
  {
    displayName: 'Key',
    name: 'key',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'cursor',
    displayOptions: show('delete', 'get', 'put'),
  },
  {
    displayName: 'Value When Missing (JSON)',
    name: 'defaultValue',
    type: 'json',
    default: 'null',
    description: 'The value that is output, without an ETag, when the state does not exist',
    displayOptions: show('get'),
  },
  {
    displayName: 'Value (JSON)',
    name: 'value',
    type: 'json',
    required: true,
    default: '{}',
    description: 'Any JSON, at most 64 KiB',
    displayOptions: show('put'),
  },
  {
    displayName: 'Whatever Is There',
    name: 'unconditional',
    type: 'boolean',
    default: false,
    description: 'Whether to do it whatever is there, which loses what another run wrote meanwhile',
    displayOptions: show('delete', 'put'),
  },
  {
    displayName: 'Expected ETag',
    name: 'ifMatch',
    type: 'string',
    default: '',
    description: 'The ETag that was read, or empty when the state did not exist. Another one is a lost race.',
    displayOptions: {
      show: { resource: ['sourceState'], operation: ['delete', 'put'], unconditional: [false] },
    },
  },
];
