import { z } from 'zod';
import { artifactName, artifactRecord, deliveryNumber } from '../../contracts/artifacts';
import { workloadId } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import { artifactOf, artifactsOf, outputStanding } from '../../ledger/artifacts';
import { byteRange } from '../artifacts/byte-range';
import { followOutput, positionOf } from '../artifacts/follow';
import type { RouteDeps } from '../app-deps';
import { route, StreamedBody } from '../route';
import { storeOf } from './output';

const access = { kind: 'token', scopes: ['workloads:read'] } as const;
const tag = 'Workloads';
const noSuch = (): Problem => new Problem('not_found', 'No such workload or artifact.');
const gone = (): Problem => new Problem('artifacts.gone', 'The bytes are not kept here any more.');

const listRoute = route({
  method: 'get',
  path: '/api/workloads/{workload_id}/artifacts',
  operationId: 'listArtifacts',
  tag,
  summary: 'What the deliveries of a workload left',
  description: 'By delivery and name; the newest 1,000. What a command printed is `stdout` and `stderr`.',
  access,
  params: z.object({ workload_id: workloadId }),
  answers: {
    200: {
      description: 'All of them.',
      schema: z.object({
        artifacts: z.array(artifactRecord.extend({ delivery: z.int() }).meta({ id: 'ListedArtifact' })),
      }),
    },
  },
  handle: async ({ deps, principal, params }) => {
    const artifacts = await artifactsOf(deps.db, principal.tenantId, params.workload_id);
    if (!artifacts) throw noSuch();
    return { status: 200, body: { artifacts } };
  },
});

const bytesRoute = route({
  method: 'get',
  path: '/api/workloads/{workload_id}/artifacts/{delivery}/{name}',
  operationId: 'readArtifact',
  tag,
  summary: 'The bytes of an artifact',
  description:
    'While it is being written: what there is. `ETag` is its SHA-256 once the command has ended. One `Range` of bytes is understood. It is text of a ' +
    'command, which may be hostile: it is sent so that no browser shows it.',
  access,
  params: z.object({ workload_id: workloadId, delivery: deliveryNumber, name: artifactName }),
  headers: z.object({
    Range: z.string().max(200).optional(),
    'If-Range': z.string().max(200).optional(),
    'If-None-Match': z.string().max(1000).optional(),
  }),
  answers: {
    200: { description: 'All of it.', mediaType: 'application/octet-stream', headers: { ETag: 'Its SHA-256.' } },
    206: {
      description: 'The range.',
      mediaType: 'application/octet-stream',
      headers: { 'Content-Range': 'Which one.' },
    },
    304: { description: 'It is the one that `If-None-Match` names.' },
  },
  problems: ['artifacts.not_kept', 'artifacts.gone', 'artifacts.range'],
  handle: async ({ deps, principal, params, headers, response }) => {
    const { workload_id, delivery, name } = params;
    const key = { workloadId: workload_id, delivery, name };
    const artifact = await artifactOf(deps.db, principal.tenantId, key);
    if (!artifact) throw noSuch();
    if (artifact.deleted_at !== null) throw gone();
    const store = storeOf(deps);
    const { size, sha256 } = artifact;
    const etag = sha256 === null ? null : `"sha256-${sha256}"`;
    if (etag !== null && headers['If-None-Match']?.split(',').some((each) => each.trim() === etag)) {
      return { status: 304, body: undefined, headers: { ETag: etag } };
    }
    if (size > ((await store.size(key)) ?? 0)) throw gone();
    const wanted = headers['If-Range'] === undefined || headers['If-Range'] === etag ? headers.Range : undefined;
    const range = byteRange(wanted, size);
    if (range === 'unsatisfiable') {
      response.setHeader('Content-Range', `bytes */${size}`);
      throw new Problem('artifacts.range', `There are only ${size} bytes.`);
    }
    const { start, end } = range ?? { start: 0, end: size };
    return {
      status: range ? 206 : 200,
      body: new StreamedBody(store.read(key, start, end), () => Promise.resolve()),
      mediaType: artifact.media_type,
      headers: {
        'Content-Length': String(end - start),
        'Accept-Ranges': 'bytes',
        'Content-Disposition': `attachment; filename="${workload_id}-${delivery}-${name}"`,
        'X-Content-Type-Options': 'nosniff',
        ...(etag !== null && { ETag: etag }),
        ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${size}` }),
      },
    };
  },
});

const followRoute = route({
  method: 'get',
  path: '/api/workloads/{workload_id}/output',
  operationId: 'followOutput',
  tag,
  summary: 'What a command prints, as it prints it',
  description:
    'Server-sent events: `stdout` and `stderr` with `{offset, text}` (`offset` in bytes; what is no UTF-8 is U+FFFD), `end` with `{state}` when the ' +
    'delivery has ended and all of it was sent. `Last-Event-ID` goes on behind an event. Without `follow=true` it sends what there is. ' +
    'With it, it waits for the start of a workload that is not running yet, and is cut off after 15 minutes: come again with `Last-Event-ID`.',
  access,
  params: z.object({ workload_id: workloadId }),
  query: z.strictObject({
    delivery: deliveryNumber.optional().meta({ description: 'Default: the newest.' }),
    follow: z.enum(['true', 'false']).default('false'),
  }),
  headers: z.object({
    'Last-Event-ID': z
      .string()
      .max(40)
      .refine((id) => positionOf(id) !== null, 'must be the id of an event of this stream')
      .optional(),
  }),
  answers: { 200: { description: 'The events.', mediaType: 'text/event-stream' } },
  problems: ['artifacts.not_kept', 'artifacts.gone', 'capacity.followers'],
  handle: async ({ deps, principal, params, query, headers }) => {
    const { tenantId } = principal;
    const lastId = headers['Last-Event-ID'];
    const after = lastId === undefined ? null : positionOf(lastId);
    const delivery = query.delivery ?? (after && after.delivery > 0 ? after.delivery : null);
    const first = await outputStanding(deps.db, tenantId, params.workload_id, delivery);
    if (!first) throw noSuch();
    if (first.deleted) throw gone();
    const options = { ...following(deps), tenantId, workloadId: params.workload_id, delivery, after };
    const leave = deps.followers.enter(tenantId);
    return {
      status: 200,
      body: new StreamedBody(followOutput({ ...options, follow: query.follow === 'true' }, first), () => {
        leave();
        return Promise.resolve();
      }),
      mediaType: 'text/event-stream',
      // A proxy must not wait until there is more.
      headers: { 'X-Accel-Buffering': 'no' },
    };
  },
});

const following = (deps: RouteDeps) => ({
  db: deps.db,
  store: storeOf(deps),
  news: deps.outputNews,
  stopping: () => deps.readiness.isDraining,
});

/** Routes of what deliveries left. */
export const artifactRoutes = [listRoute, bytesRoute, followRoute];
