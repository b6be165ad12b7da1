import { checkExpression, member, type Report } from './check-expression';
import type { Path } from './yaml-path';

const COMPUTED = ['command', 'cwd', 'image', 'digest', 'job_id'] as const;

/** What may be a list of strings; its items are looked at when it is filled in. */
const LISTS = ['list<string>', 'list<dyn>', 'list', 'list<T>', 'dyn'];

/** What is wrong with the expressions of a rule's command. */
export function runProblems(run: unknown, path: Path, report: Report): void {
  for (const field of COMPUTED) checkText(member(run, field), [...path, field], report);
  const args = member(run, 'args');
  if (Array.isArray(args)) args.forEach((arg: unknown, index) => checkText(arg, [...path, 'args', index], report));
  else checkExpression(member(args, 'cel'), [...path, 'args', 'cel'], LISTS, report);
}

const checkText = (value: unknown, path: Path, report: Report): void =>
  checkExpression(member(value, 'cel'), [...path, 'cel'], ['string', 'dyn'], report);
