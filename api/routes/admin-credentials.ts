import { z } from 'zod';
import { credentialRecord, credentialRotation, newCredential } from '../../contracts/managed-workers';
import {
  issueCredential,
  listCredentials,
  revokeCredential,
  rotateCredential,
  type IssuedCredential,
} from '../../ledger/worker-credentials';
import { ADMIN, adminOf } from '../admin-routes';
import { idempotencyHeaders } from '../fields';
import { maybeOnce, type KeyedWork } from '../keyed';
import { route } from '../route';

const tag = 'Worker credentials';
const PATH = '/api/admin/workers/{worker_id}/credentials';
const anyId = z.string().min(1).max(256);
const params = z.object({ worker_id: anyId });
const oneParams = z.object({ worker_id: anyId, credential_id: anyId });

const issuedAnswer = z.object({
  credential: z
    .object({
      credential: credentialRecord,
      /** Secret; shown this once. Null in the answer to a repeat by its `Idempotency-Key`: it is not kept. */
      plaintext: z.string().nullable(),
    })
    .meta({ id: 'IssuedWorkerCredential' }),
});

const answerOf = ({ credential, plaintext }: IssuedCredential): KeyedWork => ({
  status: 201,
  body: { credential: { credential, plaintext: plaintext.reveal() } },
  repeated: { credential: { credential, plaintext: null } },
});

const ONCE =
  'The plaintext is in this answer only; the ledger keeps a hash. A repeat by its `Idempotency-Key` has none.';

const listRoute = route({
  method: 'get',
  path: PATH,
  operationId: 'listWorkerCredentials',
  tag,
  summary: 'Credentials of a worker, the newest first',
  description: 'At most 500, without their secrets.',
  access: ADMIN,
  params,
  answers: {
    200: { description: 'The credentials.', schema: z.object({ credentials: z.array(credentialRecord) }) },
  },
  handle: async ({ deps, principal, params: { worker_id } }) => ({
    status: 200,
    body: { credentials: await listCredentials(deps.db, worker_id, adminOf(principal).owner) },
  }),
});

const issueRoute = route({
  method: 'post',
  path: PATH,
  operationId: 'issueWorkerCredential',
  tag,
  summary: 'Issue a credential to a worker',
  description: ONCE,
  access: ADMIN,
  params,
  headers: idempotencyHeaders,
  body: { 'application/json': newCredential },
  bodyIsOptional: true,
  answers: { 201: { description: 'Issued.', schema: issuedAnswer } },
  problems: ['credential.not_live', 'idempotency.conflict'],
  handle: ({ deps, principal, params: { worker_id }, headers, body }) => {
    const fingerprint = JSON.stringify([worker_id, body]);
    const { tenantId } = principal;
    const asked = { tenantId, route: `POST ${PATH}`, key: headers['Idempotency-Key'], fingerprint };
    const wish = { scopes: body.scopes, expiresAt: body.expires_at };
    return maybeOnce(deps, asked, async (tx) =>
      answerOf(await issueCredential(tx, worker_id, wish, adminOf(principal))),
    );
  },
});

const rotateRoute = route({
  method: 'post',
  path: `${PATH}/{credential_id}/rotate`,
  operationId: 'rotateWorkerCredential',
  tag,
  summary: 'Replace a credential by another one',
  description: `The old one stays good for the overlap, and no longer than it would have been. ${ONCE}`,
  access: ADMIN,
  params: oneParams,
  headers: idempotencyHeaders,
  body: { 'application/json': credentialRotation },
  bodyIsOptional: true,
  answers: { 201: { description: 'The new credential.', schema: issuedAnswer } },
  problems: ['credential.not_live', 'idempotency.conflict'],
  handle: ({ deps, principal, params: { worker_id, credential_id }, headers, body }) => {
    const fingerprint = JSON.stringify([worker_id, credential_id, body]);
    const route = `POST ${PATH}/{credential_id}/rotate`;
    const asked = { tenantId: principal.tenantId, route, key: headers['Idempotency-Key'], fingerprint };
    const rotation = { expiresAt: body.expires_at, overlapMs: body.overlap };
    return maybeOnce(deps, asked, async (tx) =>
      answerOf(await rotateCredential(tx, worker_id, credential_id, rotation, adminOf(principal))),
    );
  },
});

const revokeRoute = route({
  method: 'post',
  path: `${PATH}/{credential_id}/revoke`,
  operationId: 'revokeWorkerCredential',
  tag,
  summary: 'Revoke a credential',
  description: 'From the next request on. Again changes nothing: the first time stays.',
  access: ADMIN,
  params: oneParams,
  body: { 'application/json': z.strictObject({}).meta({ id: 'CredentialRevocation' }) },
  bodyIsOptional: true,
  answers: { 200: { description: 'Revoked.', schema: z.object({ credential: credentialRecord }) } },
  handle: async ({ deps, principal, params: { worker_id, credential_id } }) => ({
    status: 200,
    body: { credential: await revokeCredential(deps.db, worker_id, credential_id, adminOf(principal)) },
  }),
});

/** Admins' routes about workers' credentials. */
export const adminCredentialRoutes = [listRoute, issueRoute, rotateRoute, revokeRoute];
