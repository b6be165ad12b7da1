import { defineSearchAttributeKey } from '@temporalio/common';

/** Search attributes, all KEYWORD: what operators filter workloads by in the Temporal Web UI. */
export const SEARCH_ATTRIBUTES = {
  tenant: 'WorkloadTenant',
  source: 'WorkloadSource',
  action: 'WorkloadAction',
  rule: 'WorkloadRule',
  state: 'WorkloadState',
  executor: 'WorkloadExecutor',
  pool: 'WorkloadPool',
} as const;

/** Typed keys of the search attributes, for workflows and for the start of one. */
export const SEARCH_ATTRIBUTE_KEYS = {
  tenant: defineSearchAttributeKey(SEARCH_ATTRIBUTES.tenant, 'KEYWORD'),
  source: defineSearchAttributeKey(SEARCH_ATTRIBUTES.source, 'KEYWORD'),
  action: defineSearchAttributeKey(SEARCH_ATTRIBUTES.action, 'KEYWORD'),
  rule: defineSearchAttributeKey(SEARCH_ATTRIBUTES.rule, 'KEYWORD'),
  state: defineSearchAttributeKey(SEARCH_ATTRIBUTES.state, 'KEYWORD'),
  executor: defineSearchAttributeKey(SEARCH_ATTRIBUTES.executor, 'KEYWORD'),
  pool: defineSearchAttributeKey(SEARCH_ATTRIBUTES.pool, 'KEYWORD'),
};
