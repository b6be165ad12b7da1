import { OpenAPIRegistry, OpenApiGeneratorV31 } from '@asteasolutions/zod-to-openapi';
import type { RouteConfig } from '@asteasolutions/zod-to-openapi';
import { PROBLEMS } from '../contracts/problems';
import type { Access } from './auth';
import { problemDocument, statusesOf } from './problem';
import { problemsOf, type Route } from './route';

const DESCRIPTION = `Source events in, decided and followed workloads out.

Every error is a problem document (RFC 9457) with a stable \`code\`. Unknown fields and query parameters are refused. Times are
RFC 3339, names are snake_case, request bodies are at most 256 KiB unless a route says otherwise.`;

/** The OpenAPI 3.1 document of the declared routes. */
export function openApiDocument(routes: readonly Route[]): object {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'token', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API token (`workloadd token create`).',
  });
  registry.registerComponent('securitySchemes', 'worker', {
    type: 'http',
    scheme: 'bearer',
    description: "A worker's credential (`workloadd worker enroll`).",
  });
  for (const declared of routes) registry.registerPath(pathOf(declared));
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'opencrow-workloadd',
      version: '1',
      description: DESCRIPTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
  });
}

function pathOf(declared: Route): RouteConfig {
  const { params, query, headers } = declared;
  const body = declared.body ?? declared.ownBody;
  return {
    method: declared.method,
    path: declared.path,
    operationId: declared.operationId,
    tags: [declared.tag],
    summary: declared.summary,
    description: [declared.description, accessText(declared.access)].filter(Boolean).join('\n\n'),
    security: securityOf(declared.access),
    request: {
      ...(params && { params }),
      ...(query && { query }),
      ...(headers && { headers }),
      ...(body && {
        body: {
          required: declared.bodyIsOptional !== true,
          content: Object.fromEntries(Object.entries(body).map(([type, schema]) => [type, { schema }])),
        },
      }),
    },
    responses: { ...answersOf(declared), ...errorsOf(declared) },
  };
}

function securityOf(access: Access): Record<string, string[]>[] {
  if (access.kind === 'none') return [];
  return [{ [access.kind === 'worker' ? 'worker' : 'token']: [] }];
}

function accessText(access: Access): string {
  switch (access.kind) {
    case 'none':
      return 'No token is needed.';
    case 'token':
      return access.scopes.length === 0
        ? 'Any API token.'
        : `Needs the scope ${access.scopes.map((scope) => `\`${scope}\``).join(' or ')}.`;
    case 'admin':
      return 'Needs the scope `admin` (pools and workers of the token’s tenant) or `operator` (all).';
    case 'operator':
      return 'Needs the scope `operator`.';
    case 'worker':
      return `Needs this worker's credential with the scope \`${access.scope}\`.`;
  }
}

/** Statuses whose answers have no body. */
const WITHOUT_BODY = new Set(['204', '304']);

function answersOf(declared: Route): RouteConfig['responses'] {
  return Object.fromEntries(
    Object.entries(declared.answers).map(([status, { description, schema, mediaType, headers }]) => [
      status,
      {
        description,
        ...(!WITHOUT_BODY.has(status) && {
          content: { [mediaType ?? 'application/json']: { schema: schema ?? { type: 'string' } } },
        }),
        ...(headers && {
          headers: Object.fromEntries(
            Object.entries(headers).map(([name, text]) => [
              name,
              { description: text, schema: { type: 'string' as const } },
            ]),
          ),
        }),
      },
    ]),
  );
}

function errorsOf(declared: Route): RouteConfig['responses'] {
  const codes = problemsOf(declared);
  return Object.fromEntries(
    statusesOf(codes)
      .filter((status) => !(status in declared.answers))
      .map((status) => {
        const here = codes.filter((code) => PROBLEMS[code] === status);
        const waits = status === 429 || status === 503;
        return [
          status,
          {
            description: here.map((code) => `\`${code}\``).join(', '),
            content: { 'application/problem+json': { schema: problemDocument } },
            ...(waits && {
              headers: { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' as const } } },
            }),
          },
        ];
      }),
  );
}
