import type { PolicyProblem } from '../../contracts/policy';
import { compileExpression, ExpressionInvalid } from './expression';
import { pointerOf, ruleIdAt } from './yaml-path';
import type { Path } from './yaml-path';
import type { YamlSource } from './yaml-source';

type Report = (path: Path, detail: string, index?: number) => void;

/**
 * What the schema cannot see: expressions, rule ids used twice, unknown pools. Works on the raw document, so that these are
 * found also in rules that have other faults.
 */
export function ruleProblems(
  data: unknown,
  source: YamlSource,
  pools: ReadonlySet<string> | undefined,
): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const report: Report = (path, detail, index) => {
    const position = index === undefined ? source.positionOf(path) : source.positionInString(path, index);
    problems.push({ ...position, rule_id: ruleIdAt(data, path), pointer: pointerOf(path), detail });
  };
  const rules = member(data, 'rules');
  if (!Array.isArray(rules)) return [];
  const firstUse = new Map<string, number>();
  for (const [index, rule] of rules.entries()) {
    const path = ['rules', index];
    checkId(member(rule, 'id'), path, firstUse, source, report);
    checkExpression(member(rule, 'when'), [...path, 'when'], ['bool'], report);
    checkExpression(member(member(rule, 'dedupe'), 'key'), [...path, 'dedupe', 'key'], ['string', 'dyn'], report);
    checkCapabilities(member(rule, 'capabilities'), [...path, 'capabilities'], report);
    const pool = member(member(rule, 'to'), 'pool') ?? 'default';
    const poolPath = [...path, 'to', 'pool'];
    if (pools && typeof pool === 'string' && needsPool(rule) && !pools.has(pool)) {
      report(
        poolPath,
        `there is no pool "${pool.slice(0, 64)}"; known: ${[...pools].slice(0, 20).join(', ') || 'none'}`,
      );
    }
  }
  return problems;
}

/** A rule that never dispatches works without the default pool; a pool it names must exist all the same. */
function needsPool(rule: unknown): boolean {
  return (
    member(member(rule, 'to'), 'pool') !== undefined || !['ignore', 'deny'].includes(String(member(rule, 'decision')))
  );
}

function checkId(id: unknown, path: Path, firstUse: Map<string, number>, source: YamlSource, report: Report): void {
  if (typeof id !== 'string') return;
  const idPath = [...path, 'id'];
  const first = firstUse.get(id);
  if (first === undefined) firstUse.set(id, source.positionOf(idPath).line);
  else report(idPath, `this id is used twice: already on line ${first}`);
}

function checkCapabilities(capabilities: unknown, path: Path, report: Report): void {
  if (!Array.isArray(capabilities)) return;
  for (const [index, capability] of capabilities.entries()) {
    const resources = member(capability, 'resources');
    if (!Array.isArray(resources)) continue;
    for (const [at, resource] of resources.entries()) {
      checkExpression(resource, [...path, index, 'resources', at], ['string', 'dyn'], report);
    }
  }
}

function checkExpression(text: unknown, path: Path, types: readonly string[], report: Report): void {
  if (typeof text !== 'string' || text === '') return;
  try {
    const { type } = compileExpression(text);
    if (!types.includes(type)) report(path, `must be ${types[0]}, is ${type}${hintFor(types[0]!, type)}`);
  } catch (error) {
    if (!(error instanceof ExpressionInvalid)) throw error;
    report(path, error.message, error.position);
  }
}

function hintFor(wanted: string, type: string): string {
  if (wanted === 'bool' && type === 'dyn') return ': compare it, e.g. event.data.flag == true';
  return wanted === 'string' && ['int', 'double', 'bool'].includes(type) ? ': wrap it in string(…)' : '';
}

function member(value: unknown, key: string): unknown {
  return value !== null && typeof value === 'object' && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}
