import { z } from 'zod';
import { MAX_APPEND_BYTES, MAX_ARTIFACT_BYTES, OUTPUT_STREAMS, outputKept } from '../../contracts/artifacts';
import { Problem } from '../../contracts/problems';
import { appendOutput } from '../../ledger/artifacts';
import type { ArtifactStore } from '../artifacts/store';
import type { RouteDeps } from '../app-deps';
import { mediaTypeOf, readBytes } from '../body';
import { route } from '../route';
import { leaseAccess, leaseHeaders, leaseParams, writeOf } from './leases';

/** The artifact store, or the problem `artifacts.not_kept`. */
export function storeOf({ artifacts }: RouteDeps): ArtifactStore {
  if (artifacts) return artifacts;
  throw new Problem('artifacts.not_kept', 'This service keeps no artifacts.');
}

const BYTES = 'application/octet-stream';

const appendRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/leases/{work_id}/output',
  operationId: 'appendOutput',
  tag: 'Worker protocol',
  summary: 'The command printed this',
  description:
    'Appends the bytes of the body when `offset` is the size that is kept. Below it nothing changes and the size is answered, so a repeat is ' +
    'harmless; above it is 409. Also under the lease that a cancel closed, until the end is recorded; a lease that ran out is stale.',
  access: leaseAccess,
  params: leaseParams,
  headers: leaseHeaders,
  query: z.strictObject({
    stream: z.enum(OUTPUT_STREAMS),
    offset: z
      .string()
      .regex(/^\d{1,9}$/, 'must be a number of bytes')
      .transform(Number)
      .refine((offset) => offset <= MAX_ARTIFACT_BYTES, `must be at most ${MAX_ARTIFACT_BYTES}`),
  }),
  ownBody: { [BYTES]: z.string() },
  maxBodyBytes: MAX_APPEND_BYTES,
  answers: { 200: { description: 'So many bytes are kept.', schema: outputKept } },
  problems: [
    'lease.token_required',
    'lease.stale',
    'workload.state_conflict',
    'artifacts.not_kept',
    'artifacts.offset_ahead',
    'artifacts.too_large',
    'artifacts.gone',
    'artifacts.no_room',
  ],
  handle: async (request) => {
    const { deps, query, raw, response } = request;
    const store = storeOf(deps);
    mediaTypeOf(raw.headers['content-type'] ?? '', [BYTES]);
    const bytes = await readBytes(raw, response, MAX_APPEND_BYTES);
    const piece = { stream: query.stream, offset: query.offset, length: bytes.length };
    const kept = await appendOutput(deps.db, writeOf(request), piece, (key) => store.append(key, query.offset, bytes));
    deps.outputNews.tell(kept);
    return { status: 200, body: { size: kept.size } };
  },
});

/** Routes of the output of commands. */
export const outputRoutes = [appendRoute];
