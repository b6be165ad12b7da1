import type { SearchAttributePair } from '@temporalio/common';
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import { inlineCode } from '../contracts/markdown';
import { SEARCH_ATTRIBUTE_KEYS } from '../contracts/search-attributes';
import type { WorkloadView } from '../contracts/workflow';

/** Shows a workload to operators in the Temporal Web UI: search attributes and current details. */
export class Publisher {
  private published = new Map<string, string>();

  /** After the first time, `delivered` goes to the details only: each upsert is a history event, and `running` follows at once. */
  publish(view: WorkloadView): void {
    setCurrentDetails(detailsOf(view));
    if (view.state === 'delivered' && this.published.size > 0) return;
    const pairs = attributesOf(view).filter(({ key, value }) => this.published.get(key.name) !== value);
    if (pairs.length === 0) return;
    upsertSearchAttributes(pairs);
    for (const { key, value } of pairs) this.published.set(key.name, value as string);
  }
}

function attributesOf(view: WorkloadView): SearchAttributePair[] {
  const pairs: SearchAttributePair[] = [{ key: SEARCH_ATTRIBUTE_KEYS.state, value: view.state }];
  if (view.rule_id !== null) pairs.push({ key: SEARCH_ATTRIBUTE_KEYS.rule, value: view.rule_id });
  if (view.executor !== null) pairs.push({ key: SEARCH_ATTRIBUTE_KEYS.executor, value: view.executor });
  if (view.pool_id !== null) pairs.push({ key: SEARCH_ATTRIBUTE_KEYS.pool, value: view.pool_id });
  return pairs;
}

function detailsOf(view: WorkloadView): string {
  const rule = view.rule_id === null ? 'no rule' : `rule ${inlineCode(view.rule_id)}`;
  const where = view.pool_id === null ? '' : `, pool \`${view.pool_id}\`, executor \`${view.executor}\``;
  const delivery = view.delivery > 0 ? `, delivery ${view.delivery}` : '';
  return `**${view.state}**: ${view.reason}\n\n${inlineCode(view.source)} ${inlineCode(view.action)}, ${rule}${where}${delivery}`;
}
