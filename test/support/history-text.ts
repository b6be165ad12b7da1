import { historyToJSON } from '@temporalio/common/lib/proto-utils';

/** A workflow's history as text, with its base64 payloads readable. */
export function historyText(history: Parameters<typeof historyToJSON>[0]): string {
  return JSON.stringify(decoded(JSON.parse(historyToJSON(history))));
}

function decoded(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decoded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key === 'data' && typeof item === 'string' ? Buffer.from(item, 'base64').toString() : decoded(item),
    ]),
  );
}
