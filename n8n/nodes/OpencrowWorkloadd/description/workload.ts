import type { INodeProperties } from 'n8n-workflow';
import { ENDED_STATES } from '../../../shared/workloads';

const show = (...operations: string[]): INodeProperties['displayOptions'] => ({
  show: { resource: ['workload'], operation: operations },
});

const STATES = ['accepted', 'held', 'queued', 'delivered', 'running', 'preempted', ...ENDED_STATES];

const optionsOf = (states: readonly string[]): { name: string; value: string }[] =>
  states.toSorted().map((state) => ({ name: `${state.charAt(0).toUpperCase()}${state.slice(1)}`, value: state }));

/** States that the service tells of, as options in alphabetical order. */
export const toldStateOptions = optionsOf(STATES.filter((state) => state !== 'accepted'));

/** Operations and fields of workloads. */
export const workloadProperties: INodeProperties[] = [
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['workload'] } },
    options: [
      { name: 'Approve', value: 'approve', description: 'Queue a held workload', action: 'Approve a workload' },
      {
        name: 'Cancel',
        value: 'cancel',
        description: 'Cancel a workload; one that was handed over may still run',
        action: 'Cancel a workload',
      },
      { name: 'Deny', value: 'deny', description: 'End a held workload', action: 'Deny a workload' },
      {
        name: 'Explain',
        value: 'explain',
        description: 'Tell rule by rule why policy decided as it did',
        action: 'Explain the decision of a workload',
      },
      {
        name: 'Get',
        value: 'get',
        description: 'Get everything the ledger knows of a workload',
        action: 'Get a workload',
      },
      { name: 'Get Many', value: 'getAll', description: 'List workloads, newest first', action: 'Get many workloads' },
      {
        name: 'Replay',
        value: 'replay',
        description: 'Post the event of a past workload again, linked in the ledger',
        action: 'Replay a workload',
      },
      {
        name: 'Wait Until Ended',
        value: 'wait',
        description: 'Ask again and again until the workload has ended. For more than minutes use a callback.',
        action: 'Wait until a workload has ended',
      },
    ],
    default: 'get',
  },
  {
    displayName: 'Workload ID',
    name: 'workloadId',
    type: 'string',
    required: true,
    default: '',
    placeholder: 'wl_…',
    displayOptions: show('approve', 'cancel', 'deny', 'explain', 'get', 'replay', 'wait'),
  },
  {
    displayName: 'Reason',
    name: 'reason',
    type: 'string',
    required: true,
    default: '',
    description: 'Why; kept in the ledger',
    displayOptions: show('approve', 'cancel', 'deny', 'replay'),
  },
  {
    displayName: 'Idempotency Key',
    name: 'idempotencyKey',
    type: 'string',
    default: '',
    description:
      'A repeat with the same key has no second effect. Empty makes one that retries of this execution share.',
    displayOptions: show('approve', 'cancel', 'deny', 'replay'),
  },
  {
    displayName: 'Give Up After (Seconds)',
    name: 'timeoutSeconds',
    type: 'number',
    typeOptions: { minValue: 1 },
    default: 300,
    displayOptions: show('wait'),
  },
  {
    displayName: 'When Given Up',
    name: 'onTimeout',
    type: 'options',
    options: [
      { name: 'Fail', value: 'fail' },
      { name: 'Output the Workload as It Stands', value: 'output' },
    ],
    default: 'fail',
    displayOptions: show('wait'),
  },
  {
    displayName: 'Return All',
    name: 'returnAll',
    type: 'boolean',
    default: false,
    description: 'Whether to return all results or only up to a given limit',
    displayOptions: show('getAll'),
  },
  {
    displayName: 'Limit',
    name: 'limit',
    type: 'number',
    typeOptions: { minValue: 1 },
    default: 50,
    description: 'Max number of results to return',
    displayOptions: { show: { resource: ['workload'], operation: ['getAll'], returnAll: [false] } },
  },
  {
    displayName: 'Filters',
    name: 'filters',
    type: 'collection',
    placeholder: 'Add Filter',
    default: {},
    displayOptions: show('getAll'),
    options: [
      { displayName: 'Action', name: 'action', type: 'string', default: '' },
      { displayName: 'Rule', name: 'rule', type: 'string', default: '', description: 'ID of the rule that decided' },
      {
        displayName: 'Since',
        name: 'since',
        type: 'dateTime',
        default: '',
        description: 'Accepted at this time or later',
      },
      { displayName: 'Source', name: 'source', type: 'string', default: '' },
      { displayName: 'State', name: 'state', type: 'options', options: optionsOf(STATES), default: 'running' },
    ],
  },
];
