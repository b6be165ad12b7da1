import { defineSearchAttributeKey } from '@temporalio/common';
import { SEARCH_ATTRIBUTES } from '../contracts/workflow';

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
