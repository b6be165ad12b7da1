import { z } from 'zod';
import { route } from '../route';

const livez = route({
  method: 'get',
  path: '/livez',
  operationId: 'livez',
  tag: 'Service',
  summary: 'Whether the process answers at all',
  access: { kind: 'none' },
  answers: { 200: { description: 'It does.', schema: z.object({ status: z.literal('alive') }) } },
  handle: () => ({ status: 200, body: { status: 'alive' } }),
});

const check = z.object({ ok: z.boolean(), detail: z.string().optional() });
const readiness = z
  .object({
    ready: z.boolean(),
    checks: z.object({ ledger: check, migrations: check, serving: check, temporal: check }),
  })
  .meta({ id: 'Readiness' });

const readyz = route({
  method: 'get',
  path: '/readyz',
  operationId: 'readyz',
  tag: 'Service',
  summary: 'Whether requests can be served now, and what is wrong',
  description: 'Temporal is told of but not needed: without it events are accepted and wait.',
  access: { kind: 'none' },
  answers: {
    200: { description: 'Ready.', schema: readiness },
    503: {
      description: 'Not ready: the ledger is out of reach or not migrated, or the process is stopping.',
      schema: readiness,
    },
  },
  handle: async ({ deps }) => {
    const body = await deps.readiness.probe();
    return { status: body.ready ? 200 : 503, body, ...(!body.ready && { headers: { 'Retry-After': '2' } }) };
  },
});

/** Health routes. */
export const healthRoutes = [livez, readyz];
