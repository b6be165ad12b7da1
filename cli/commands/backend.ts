import { unenforceable } from '../../domain/execution/envelopes';
import type { Backend, BackendProbe } from '../../executors/backend';
import { Backends, builtInBackends } from '../../executors/backends';
import type { ConfigOf } from '../config';
import { CommandFailed } from '../exit-codes';
import { table } from '../table';
import { backendSettings, profileOf, unknownBackend } from './exec';

/** `workloadd backend list`: what each backend holds of a sandbox, without asking anybody. */
export function runBackendList(config: ConfigOf<'backend list'>, { json }: { json?: boolean }): void {
  const specs = new Backends(builtInBackends(backendSettings(config))).list().map(({ spec }) => spec);
  if (json) {
    console.log(JSON.stringify({ backends: specs }));
    return;
  }
  const rows = specs.map(({ id, kind, locality, support, title }) => [
    id,
    kind,
    locality,
    ...(['read', 'write', 'command', 'network', 'env'] as const).map((dimension) => support[dimension]),
    title,
  ]);
  console.log(table(['BACKEND', 'KIND', 'WHERE', 'READ', 'WRITE', 'COMMAND', 'NETWORK', 'ENV', 'WHAT'], rows));
}

/** Arguments of `backend probe`: what a run would be given. */
export interface ProbeArguments {
  sandbox?: string;
  image?: string;
  digest?: string;
  endpoint?: string;
  json?: boolean;
}

/**
 * `workloadd backend probe`: asks whether a backend could run something now, with this profile and on this target. Fails when the
 * one that was named could not.
 */
export async function runBackendProbe(
  config: ConfigOf<'backend probe'>,
  id: string | undefined,
  args: ProbeArguments,
): Promise<void> {
  const backends = new Backends(builtInBackends(backendSettings(config)));
  const named = id === undefined ? undefined : backends.get(id);
  if (id !== undefined && !named) throw unknownBackend(backends, id);
  const further = furtherChecks(config, args);
  const probes = await Promise.all(
    (named ? [named] : backends.list()).map(async (backend) => {
      const seen = await backend.probe({ hostEnv: process.env });
      const asked = further(backend);
      return {
        backend: backend.spec.id,
        ready: seen.ready && asked.every(({ ok }) => ok),
        checks: [...seen.checks, ...asked],
      };
    }),
  );
  if (args.json) console.log(JSON.stringify({ probes }));
  else {
    const rows = probes.flatMap(({ backend, ready, checks }) =>
      checks.map(({ name, ok, detail }) => [backend, ready ? 'ready' : 'not ready', ok ? 'ok' : 'FAIL', name, detail]),
    );
    console.log(table(['BACKEND', 'STATE', '', 'CHECK', 'DETAIL'], rows));
  }
  if (named && !probes[0]!.ready) throw new CommandFailed(`backend ${named.spec.id} is not ready`);
}

/** What the options say of a backend, beside what it says of itself. */
function furtherChecks(
  config: ConfigOf<'backend probe'>,
  { sandbox, image, digest, endpoint }: ProbeArguments,
): (backend: Backend) => BackendProbe['checks'] {
  const cwd = process.cwd();
  const profile = sandbox === undefined ? null : profileOf(sandbox, cwd);
  return ({ spec, check, handleOf }) => {
    const checks: BackendProbe['checks'] = [];
    if (spec.locality === 'remote') {
      const detail = config.runnerToken ? 'a bearer token is sent' : 'no bearer token is set, none is sent';
      checks.push({ name: 'token', ok: true, detail });
    }
    const request = { cwd, image, digest, endpoint };
    const fault = check?.(request);
    const handle = handleOf?.(request, process.env);
    if (fault) checks.push({ name: 'target', ok: false, detail: `${fault.code}: ${fault.reason}` });
    else if (handle) checks.push({ name: 'target', ok: true, detail: `${handle.ref} may be used` });
    if (profile) {
      const [dimension] = unenforceable(spec, profile);
      const why =
        dimension !== undefined
          ? `cannot hold ${dimension}`
          : profile.execute.mode === 'none'
            ? 'lets no command run'
            : null;
      checks.push({ name: 'sandbox', ok: why === null, detail: `${profile.id}: ${why ?? 'can be held'}` });
    }
    return checks;
  };
}
