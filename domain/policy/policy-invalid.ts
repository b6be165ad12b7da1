import type { PolicyProblem } from '../../contracts/policy';
import type { ProblemItem } from '../../contracts/problems';

/** More than anybody corrects in one go; bounds what a wrong file can make the service answer. */
const MAX_PROBLEMS = 500;

/** A policy document that is refused as a whole, with all that is wrong with it (the first 500), in the order of the text. */
export class PolicyInvalid extends Error {
  readonly problems: readonly PolicyProblem[];

  constructor(problems: readonly PolicyProblem[]) {
    const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column).slice(0, MAX_PROBLEMS);
    super(sorted.map(describeProblem).join('\n'));
    this.name = 'PolicyInvalid';
    this.problems = sorted;
  }

  /** The problems as items of a problem document; each detail names line and rule. */
  items(): ProblemItem[] {
    return this.problems.map((problem) => ({ pointer: problem.pointer, detail: describeProblem(problem) }));
  }
}

/** One line: `line 12, column 5: rule triage: when: No such key: sorce`. */
function describeProblem({ line, column, rule_id, pointer, detail }: PolicyProblem): string {
  const field = pointer
    .replace(/^\/rules\/\d+/, '')
    .replace(/^\//, '')
    .replaceAll('/', '.');
  const index = /^\/rules\/(\d+)/.exec(pointer)?.[1];
  const rule = rule_id ?? (index === undefined ? null : `#${Number(index) + 1}`);
  const parts = [
    `line ${line}, column ${column}`,
    ...(rule === null ? [] : [`rule ${rule}`]),
    ...(field ? [field] : []),
  ];
  return `${parts.join(': ')}: ${detail}`;
}
