import { z } from 'zod';
import { Problem } from '../../contracts/problems';
import { runnerCallbackSecret } from '../../domain/webhooks/secrets';
import { noteRunnerDone } from '../../ledger/runner-callbacks';
import { decodeUtf8, readBytes } from '../body';
import { problemFromZod } from '../problem';
import { route } from '../route';
import { isSignedRequest } from '../signed-request';
import { parseStrictJson } from '../strict-json';

const MAX_BODY_BYTES = 4096;

const jobDone = z.strictObject({
  jobId: z.union([z.string().max(512), z.number()]),
  done: z.literal(true),
});

const doneRoute = route({
  method: 'post',
  path: '/api/runner-callbacks/{delivery_id}',
  operationId: 'tellThatJobIsDone',
  tag: 'Webhooks',
  summary: 'Say that the job of a delivery is done',
  description:
    'For runners, with the address and the secret that came with the job. Signed by Standard Webhooks at most 5 minutes ago. It is a hint and ' +
    'no result: the worker that waits for the job asks the runner at once. Repeats are answered alike.',
  access: { kind: 'none' },
  params: z.object({ delivery_id: z.string().max(64) }),
  ownBody: { 'application/json': jobDone },
  answers: { 204: { description: 'Noted.' } },
  problems: ['webhook.signature_invalid', 'auth.backoff', 'ledger.unavailable'],
  handle: async ({ deps: { db, auth, webhooks }, params: { delivery_id }, raw, response }) => {
    const bytes = await readBytes(raw, response, MAX_BODY_BYTES);
    // The secret follows from the id alone, so that an unknown id takes no less time than a known one.
    const key = webhooks.signingKey?.();
    const isFrom = key && isSignedRequest([runnerCallbackSecret(key, delivery_id)], raw.headers, bytes);
    if (!isFrom) {
      const address = raw.ip ?? '';
      auth.backoff.check(address, delivery_id);
      auth.backoff.failed(address, delivery_id);
      throw notSigned();
    }
    const parsed = jobDone.safeParse(parseStrictJson(decodeUtf8(bytes)));
    if (!parsed.success) throw problemFromZod(parsed.error);
    if (!(await noteRunnerDone(db, delivery_id))) throw notSigned();
    return { status: 204, body: undefined };
  },
});

const notSigned = (): Problem =>
  new Problem(
    'webhook.signature_invalid',
    'There is no such delivery, or this is not signed with its secret within the last 5 minutes.',
  );

/** What runners tell. */
export const runnerCallbackRoutes = [doneRoute];
