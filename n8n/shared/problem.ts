import type { ApiAnswer } from './api-request';

/** An error of the service in n8n's words. */
export interface ProblemText {
  message: string;
  description: string;
  httpCode: string;
}

/** Puts code, detail and pointers of a problem document into the two lines that n8n shows. */
export function problemOf({ status, body }: ApiAnswer): ProblemText {
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const code = textOf(problem['code']) ?? `http.${status}`;
  const message = `${code}: ${textOf(problem['detail']) ?? textOf(problem['title']) ?? `the service answered ${status}`}`;
  const reason = textOf(problem['reason']);
  const requestId = textOf(problem['request_id']);
  const items = itemsOf(problem['errors']);
  const lines = [
    ...items,
    ...(reason === undefined ? [] : [`reason: ${reason}`]),
    ...(requestId === undefined ? [] : [`request id: ${requestId}`]),
  ];
  // Where n8n shows only one of the two it is the description.
  const description = [...(items.length > 0 ? [] : [message]), ...lines].join('\n');
  return { message, description, httpCode: String(status) };
}

function itemsOf(errors: unknown): string[] {
  if (!Array.isArray(errors)) return [];
  return errors.map((each: unknown) => {
    const { pointer, detail } = (each ?? {}) as Record<string, unknown>;
    return `${textOf(pointer) ?? ''} ${textOf(detail) ?? ''}`.trim();
  });
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
