import type { PolicyProblem } from '../../contracts/policy';
import { capabilityProblems } from './check-capabilities';
import { checkExpression, member, type Report } from './check-expression';
import { runProblems } from './check-run';
import { pointerOf, ruleIdAt } from './yaml-path';
import type { Path } from './yaml-path';
import type { YamlSource } from './yaml-source';

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
  const kinds = new Map<string, string>();
  for (const [index, rule] of rules.entries()) {
    const path = ['rules', index];
    checkId(member(rule, 'id'), path, firstUse, source, report);
    checkExpression(member(rule, 'when'), [...path, 'when'], ['bool'], report);
    checkExpression(member(member(rule, 'dedupe'), 'key'), [...path, 'dedupe', 'key'], ['string', 'dyn'], report);
    for (const [at, block] of Object.entries(flowBlocks(rule))) {
      checkExpression(member(block, 'key'), [...path, ...at.split('.'), 'key'], ['string', 'dyn'], report);
    }
    capabilityProblems(member(rule, 'capabilities'), [...path, 'capabilities'], kinds, report);
    runProblems(member(rule, 'run'), [...path, 'run'], report);
    const pool = member(member(rule, 'to'), 'pool') ?? (member(member(rule, 'to'), 'requires') ? null : 'default');
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

const flowBlocks = (rule: unknown): Record<string, unknown> => ({
  'limits.concurrency': member(member(rule, 'limits'), 'concurrency'),
  'limits.rate': member(member(rule, 'limits'), 'rate'),
  debounce: member(rule, 'debounce'),
});

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
