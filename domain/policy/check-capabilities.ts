import { checkExpression, member, type Report } from './check-expression';
import type { Path } from './yaml-path';

/**
 * What the schema cannot see of a rule's capabilities: expressions, and a hook that is a context hook here and a mutation hook
 * there. `kinds` remembers the hooks of the rules before.
 */
export function capabilityProblems(
  capabilities: unknown,
  path: Path,
  kinds: Map<string, string>,
  report: Report,
): void {
  if (!Array.isArray(capabilities)) return;
  for (const [index, capability] of capabilities.entries()) {
    checkKind(capability, [...path, index], kinds, report);
    const resources = member(capability, 'resources');
    if (!Array.isArray(resources)) continue;
    for (const [at, resource] of resources.entries()) {
      checkExpression(resource, [...path, index, 'resources', at], ['string', 'dyn'], report);
    }
  }
}

function checkKind(capability: unknown, path: Path, kinds: Map<string, string>, report: Report): void {
  const [hook, kind] = [member(capability, 'hook'), member(capability, 'kind') ?? 'context'];
  if (typeof hook !== 'string' || typeof kind !== 'string') return;
  const known = kinds.get(hook) ?? kind;
  kinds.set(hook, known);
  if (known !== kind) report([...path, 'kind'], `this hook is a ${known.slice(0, 64)} hook above: a hook has one kind`);
}
