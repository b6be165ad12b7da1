import { Backends, builtInBackends } from '../../executors/backends';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { table } from '../table';
import { backendSettings } from './exec';

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

/** `workloadd backend probe`: asks whether a backend could run something now. Fails when it could not. */
export async function runBackendProbe(
  config: ConfigOf<'backend probe'>,
  id: string | undefined,
  { json }: { json?: boolean },
): Promise<void> {
  const backends = new Backends(builtInBackends(backendSettings(config)));
  const asked = id === undefined ? backends.list() : [backends.get(id)];
  const probes = await Promise.all(
    asked.map(async (backend) => {
      if (!backend) throw new CommandFailed(`unknown execution backend ${id}`, EXIT.usage);
      return { backend: backend.spec.id, ...(await backend.probe({ hostEnv: process.env })) };
    }),
  );
  if (json) console.log(JSON.stringify({ probes }));
  else {
    const rows = probes.flatMap(({ backend, ready, checks }) =>
      checks.map(({ name, ok, detail }) => [backend, ready ? 'ready' : 'not ready', ok ? 'ok' : 'FAIL', name, detail]),
    );
    console.log(table(['BACKEND', 'STATE', '', 'CHECK', 'DETAIL'], rows));
  }
  const away = probes.filter(({ ready }) => !ready).map(({ backend }) => backend);
  if (id !== undefined && away.length > 0) throw new CommandFailed(`backend ${away.join(', ')} is not ready`);
}
