import type { Connection } from '@temporalio/client';

/** `IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD` of Temporal's API. */
const KEYWORD = 2;

/**
 * Registers, as Keyword, those search attributes that the namespace does not have yet; returns their names. Fails when the server
 * cannot be reached or the caller may not administer the namespace.
 */
export async function ensureSearchAttributes(
  connection: Connection,
  namespace: string,
  names: readonly string[],
): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing = names.filter((name) => !(name in customAttributes));
  if (missing.length > 0) {
    const searchAttributes = Object.fromEntries(missing.map((name) => [name, KEYWORD]));
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
  }
  return missing;
}
