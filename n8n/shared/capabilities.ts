import { RequestError, withoutBlanks } from './api-request';
import type { ApiAnswer, ApiRequest } from './api-request';

/** What an agent asks for, as it came to a webhook. */
export interface AuthorizeFields {
  token: string;
  hook: string;
  /** What the hook does: a grant to read never opens a change. */
  kind: 'context' | 'mutation';
  operation: string;
  resource: string;
  /** Chosen by the hook, never by the agent: attempts with the same key count as one use. */
  idempotencyKey?: string;
}

/** `POST /api/capabilities/authorize`. Nothing but a text is ever sent as a resource or token. */
export function authorize(fields: AuthorizeFields): ApiRequest {
  const { token, hook, kind, operation, resource } = fields;
  for (const [name, value] of Object.entries({ Token: token, Hook: hook, Operation: operation, Resource: resource })) {
    if (typeof value !== 'string' || value === '') throw new RequestError(`${name} is empty or no text`);
  }
  const body = { token, hook, kind, operation, resource, ...withoutBlanks({ idempotency_key: fields.idempotencyKey }) };
  return { method: 'POST', path: '/api/capabilities/authorize', body };
}

/** True when the service was asked properly and said no. Every other error is an error. */
export const isRefusal = ({ status, body }: ApiAnswer): boolean =>
  status === 403 && (body as { code?: unknown } | null)?.code === 'capability.denied';
