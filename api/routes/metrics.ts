import type { Request } from 'express';
import { authorize } from '../auth';
import { route } from '../route';

const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/;

/** From this host, and not handed on by a proxy that runs here. */
function isLocal({ socket, headers }: Request): boolean {
  const forwarded = 'x-forwarded-for' in headers || 'forwarded' in headers;
  return !forwarded && LOOPBACK.test(socket.remoteAddress ?? '');
}

const metrics = route({
  method: 'get',
  path: '/metrics',
  operationId: 'metrics',
  tag: 'Service',
  summary: 'Metrics in the Prometheus text format',
  description: 'From this host without a token, from elsewhere with one of scope `operator`.',
  access: { kind: 'none' },
  answers: { 200: { description: 'The metrics.', mediaType: 'text/plain' } },
  problems: ['auth.required', 'auth.scope_required', 'auth.backoff', 'ledger.unavailable'],
  handle: async ({ deps, raw }) => {
    if (!isLocal(raw)) await authorize(deps.auth, raw, { kind: 'operator' });
    return { status: 200, body: await deps.registry.metrics(), mediaType: deps.registry.contentType };
  },
});

/** The metrics route. */
export const metricsRoutes = [metrics];
