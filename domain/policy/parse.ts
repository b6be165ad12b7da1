import type { z } from 'zod';
import { policyDocument, POLICY_LIMITS } from '../../contracts/policy';
import type { PolicyProblem } from '../../contracts/policy';
import { ruleProblems } from './check-rule';
import { compilePolicy } from './compile';
import type { CompiledPolicy } from './compile';
import { PolicyInvalid } from './policy-invalid';
import { pointerOf, ruleIdAt, valueAt } from './yaml-path';
import { YamlSource } from './yaml-source';
import type { Path } from './yaml-path';

export interface ParseOptions {
  /** Pools a rule may name; others are refused. Default: any. */
  knownPools?: Iterable<string>;
}

/** Reads, checks and compiles a policy. Throws {@link PolicyInvalid} with all problems of the document. */
export function parsePolicy(yamlText: string, options: ParseOptions = {}): { policy: CompiledPolicy } {
  refuseUnreadable(yamlText);
  const source = new YamlSource(yamlText);
  const data = source.data();
  if (source.errors.length > 0) {
    throw new PolicyInvalid(source.errors.map((error) => ({ ...error, rule_id: null, pointer: '' })));
  }
  refuseTooManyRules(data);
  const parsed = policyDocument.safeParse(data);
  const pools = options.knownPools && new Set(options.knownPools);
  const problems = [
    ...(parsed.success ? [] : parsed.error.issues.flatMap((issue) => schemaProblems(issue, source, data))),
    ...ruleProblems(data, source, pools),
  ];
  if (!parsed.success || problems.length > 0) throw new PolicyInvalid(problems);
  return { policy: compilePolicy(yamlText, parsed.data) };
}

function refuseUnreadable(text: string): void {
  const bytes = Buffer.byteLength(text, 'utf8');
  const detail =
    bytes > POLICY_LIMITS.documentBytes
      ? `is ${bytes} bytes long; at most ${POLICY_LIMITS.documentBytes} are allowed`
      : /[\0\p{Cs}]/u.test(text)
        ? 'holds NUL or lone surrogates'
        : null;
  if (detail) throw new PolicyInvalid([{ line: 1, column: 1, rule_id: null, pointer: '', detail }]);
}

/** Before the rules are looked at one by one: a wide text must not keep the process busy. */
function refuseTooManyRules(data: unknown): void {
  const rules = typeof data === 'object' && data !== null && 'rules' in data ? data.rules : undefined;
  if (!Array.isArray(rules) || rules.length <= POLICY_LIMITS.rules) return;
  const detail = `holds ${rules.length} rules; at most ${POLICY_LIMITS.rules} are allowed`;
  throw new PolicyInvalid([{ line: 1, column: 1, rule_id: null, pointer: '/rules', detail }]);
}

function schemaProblems(issue: z.core.$ZodIssue, source: YamlSource, data: unknown): PolicyProblem[] {
  const problem = (path: Path, detail: string, key: boolean): PolicyProblem => ({
    ...source.positionOf(path, { key }),
    rule_id: ruleIdAt(data, path),
    pointer: pointerOf(path),
    detail,
  });
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => problem([...issue.path, key], 'unknown field', true));
  }
  const missing = issue.code !== 'custom' && valueAt(data, issue.path) === undefined;
  return [problem(issue.path, missing ? 'is required' : lowerFirst(issue.message), false)];
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
