import { jsonOf, pathOf } from './api-request';
import type { ApiAnswer, ApiRequest } from './api-request';

const pathOfState = (source: string, key: string): string => pathOf`/api/sources/${source}/state/${key}`;

export const getState = (source: string, key: string): ApiRequest => ({
  method: 'GET',
  path: pathOfState(source, key),
});

/** What a state write expects to find. */
export type StateExpectation = { kind: 'any' } | { kind: 'missing' } | { kind: 'etag'; etag: string };

/** The expectation of a parameter: an ETag, or nothing where the state did not exist when it was read. */
export const expectationOf = (etag: unknown): StateExpectation =>
  typeof etag === 'string' && etag !== '' ? { kind: 'etag', etag } : { kind: 'missing' };

/** Writes a value; 412 when it is not as expected. */
export function putState(source: string, key: string, value: unknown, expected: StateExpectation): ApiRequest {
  const body = { value: jsonOf(value, 'Value') };
  return { method: 'PUT', path: pathOfState(source, key), body, ...preconditionOf(expected) };
}

export const deleteState = (source: string, key: string, expected: StateExpectation): ApiRequest => ({
  method: 'DELETE',
  path: pathOfState(source, key),
  ...preconditionOf(expected),
});

/** A state document with its ETag and `exists`; for a missing one the default value and no ETag. */
export function documentOf(answer: ApiAnswer, source: string, key: string, defaultValue: unknown): object {
  if (answer.status === 404) return { exists: false, source, key, version: null, etag: null, value: defaultValue };
  const document = answer.body as Record<string, unknown>;
  return { exists: true, ...document, etag: etagOf(answer) };
}

function etagOf({ headers, body }: ApiAnswer): string | null {
  const version = (body as { version?: unknown } | null)?.version;
  if (typeof headers['etag'] === 'string') return headers['etag'];
  return typeof version === 'number' || typeof version === 'string' ? `"${version}"` : null;
}

function preconditionOf(expected: StateExpectation): { headers?: Record<string, string> } {
  if (expected.kind === 'etag') return { headers: { 'If-Match': expected.etag } };
  return expected.kind === 'missing' ? { headers: { 'If-None-Match': '*' } } : {};
}
