import express from 'express';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { Problem } from '../contracts/problems';
import { problemFromZod } from './problem';
import type { Route } from './route';
import { parseStrictJson } from './strict-json';

/** Bytes of a request body, at most, unless its route says otherwise. */
const MAX_BODY_BYTES = 256 * 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads, decodes and checks the body that a route declares. */
export async function readBody(
  request: Request,
  response: Response,
  { body: declared, bodyIsOptional, maxBodyBytes }: Route & { body: NonNullable<Route['body']> },
): Promise<unknown> {
  const hasNone = bodyIsOptional === true && isWithoutBody(request);
  const mediaType = mediaTypeOf(hasNone ? JSON_TYPE : (request.headers['content-type'] ?? ''), Object.keys(declared));
  const text = hasNone ? '{}' : decodeUtf8(await readBytes(request, response, maxBodyBytes));
  const parsed = declared[mediaType]!.safeParse(/[/+]json$/.test(mediaType) ? parseStrictJson(text) : text);
  if (parsed.success) return parsed.data;
  throw problemFromZod(parsed.error);
}

const JSON_TYPE = 'application/json';

const isWithoutBody = ({ headers }: Request): boolean =>
  headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;

/** Reads a request's body as it came; one that is too large or compressed is refused. */
export async function readBytes(request: Request, response: Response, maxBytes = MAX_BODY_BYTES): Promise<Buffer> {
  const readRaw = express.raw({ type: () => true, limit: maxBytes, inflate: false });
  await new Promise<void>((resolve, reject) => {
    readRaw(request, response, (error?: Error | 'route' | 'router') =>
      error instanceof Error ? reject(error) : resolve(),
    );
  });
  const bytes: unknown = request.body;
  return Buffer.isBuffer(bytes) ? bytes : Buffer.alloc(0);
}

/** The media type of a `Content-Type`, when it is one of those taken and its text is UTF-8; else the problem. */
export function mediaTypeOf(header: string, taken: string[]): string {
  const [type = '', ...parameters] = header.split(';').map((part) => part.trim().toLowerCase());
  const isUtf8 = parameters.every(
    (parameter) => !parameter.startsWith('charset=') || /^charset="?utf-?8"?$/.test(parameter),
  );
  if (taken.includes(type) && isUtf8) return type;
  throw new Problem('request.unsupported_media_type', `The body must be ${taken.join(' or ')}, in UTF-8.`);
}

/** Bytes as text, or the problem `request.malformed`. */
export function decodeUtf8(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Problem('request.malformed', 'The body is not valid UTF-8.');
  }
}

/** Checks the path, query and headers that a route declares. */
export function readFields(request: Request, declared: Route): { params: unknown; query: unknown; headers: unknown } {
  const params = declared.params?.safeParse(request.params);
  // No name has a NUL, and the ledger cannot even be asked for one.
  const holdsNul = Object.values(request.params).some((value) => value.includes('\0'));
  if (params?.success === false || holdsNul) throw new Problem('not_found', 'There is no such thing here.');
  return {
    params: params?.data,
    query: checked(declared.query ?? NO_QUERY, queryOf(request), '/query'),
    headers: declared.headers && checked(declared.headers, headersOf(request, declared.headers), '/headers'),
  };
}

const NO_QUERY = z.strictObject({});

function checked(schema: z.ZodObject, values: Record<string, unknown>, base: string): unknown {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  if (
    base === '/headers' &&
    parsed.error.issues.some(({ path }) => path[0] === 'Lease-Token') &&
    values['Lease-Token'] === undefined
  ) {
    throw new Problem('lease.token_required', 'The header Lease-Token is missing.');
  }
  throw problemFromZod(parsed.error, base);
}

/** Query parameters; one that is there twice is a list, which no schema takes. */
function queryOf(request: Request): Record<string, unknown> {
  const { searchParams } = new URL(request.originalUrl, 'http://localhost');
  const names = [...new Set(searchParams.keys())];
  return Object.fromEntries(
    names.map((name) => {
      const values = searchParams.getAll(name);
      return [name, values.length === 1 ? values[0] : values];
    }),
  );
}

const headersOf = (request: Request, schema: z.ZodObject): Record<string, unknown> =>
  Object.fromEntries(Object.keys(schema.shape).map((name) => [name, request.headers[name.toLowerCase()]]));
