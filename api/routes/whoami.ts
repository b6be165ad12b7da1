import { z } from 'zod';
import { TOKEN_SCOPES } from '../../contracts/terminology';
import { route } from '../route';

const whoami = route({
  method: 'get',
  path: '/api/whoami',
  operationId: 'whoami',
  tag: 'Service',
  summary: 'Whose token this is and what it may do',
  access: { kind: 'token', scopes: [] },
  answers: {
    200: {
      description: 'The token.',
      schema: z
        .object({
          tenant_id: z.string(),
          token_id: z.string(),
          name: z.string(),
          scopes: z.array(z.enum(TOKEN_SCOPES)),
          expires_at: z.iso.datetime().nullable(),
        })
        .meta({ id: 'WhoAmI' }),
    },
  },
  handle: ({ principal }) => ({
    status: 200,
    body: {
      tenant_id: principal.tenantId,
      token_id: principal.tokenId,
      name: principal.name,
      scopes: principal.scopes,
      expires_at: principal.expiresAt?.toISOString() ?? null,
    },
  }),
});

/** The token's own route. */
export const whoamiRoutes = [whoami];
