import { RUN_LIMITS, type RunSpec } from '../../contracts/run';
import { argvFault, digestFault, folderFault, imageFault, jobIdFault } from '../../contracts/run-faults';
import type { CelSource, RunTemplate } from '../../contracts/run-rule';
import type { CelContext } from './cel-environment';
import type { Meter } from './cel-meter';
import { compileExpression, evaluateExpression, type Expression, type Outcome } from './expression';

/** A rule's command ready to be filled in. A string stands for itself. */
export interface CompiledRun {
  /** The template; what may be computed is taken from the other fields. */
  readonly template: RunTemplate;
  readonly command: Part;
  readonly args: readonly Part[] | Expression;
  readonly cwd: Part;
  readonly image: Part | null;
  readonly digest: Part | null;
  readonly job_id: Part | null;
}
type Part = string | Expression;

export const compileRun = (template: RunTemplate): CompiledRun => ({
  template,
  command: partOf(template.command),
  args: Array.isArray(template.args) ? template.args.map(partOf) : compileExpression(template.args.cel),
  cwd: partOf(template.cwd),
  image: template.image === null ? null : partOf(template.image),
  digest: template.digest === null ? null : partOf(template.digest),
  job_id: template.job_id === null ? null : partOf(template.job_id),
});

const partOf = (source: string | CelSource): Part =>
  typeof source === 'string' ? source : compileExpression(source.cel);

/** What a computed text must keep to. */
interface Bounds {
  max: number;
  fault?: (value: string) => string | null;
  mayBeEmpty?: boolean;
}

const BOUNDS = {
  command: { max: RUN_LIMITS.pathChars },
  cwd: { max: RUN_LIMITS.pathChars, fault: folderFault },
  image: { max: RUN_LIMITS.imageChars, fault: imageFault },
  digest: { max: RUN_LIMITS.imageChars, fault: digestFault },
  job_id: { max: RUN_LIMITS.jobIdChars, fault: jobIdFault },
} as const satisfies Record<string, Bounds>;

/** Thrown while a command is filled in; `at` is the field, `code` holds nothing of the event. */
class Unusable extends Error {
  constructor(
    readonly at: string,
    readonly code: string,
  ) {
    super(`${at}: ${code}`);
  }
}

/**
 * The command for one event. A part that cannot be computed, or is not what it must be, makes all of it fail with the field and
 * a code: a command is run as its rule's author wrote it, or not at all. A value never becomes more than one argument.
 */
export function resolveRun(
  run: CompiledRun,
  context: CelContext,
  budget: Meter,
): { run: RunSpec } | { at: string; error: string } {
  const evaluate = (expression: Expression): Outcome => evaluateExpression(expression, context, budget);
  const text = (part: Part, field: keyof typeof BOUNDS): string =>
    typeof part === 'string' ? part : textOf(evaluate(part), BOUNDS[field], field);
  // Event data is bounded, but each expression may give all of it: what comes of them is bounded as it comes.
  let room: number = RUN_LIMITS.argvChars;
  const argument = (outcome: Outcome, at: string): string => {
    const value = textOf(outcome, { max: room, mayBeEmpty: true }, at);
    room -= value.length;
    return value;
  };
  const optional = (field: 'image' | 'digest' | 'job_id'): string | null => {
    const part = run[field];
    return part === null ? null : text(part, field);
  };
  try {
    const command = text(run.command, 'command');
    const args = isList(run.args)
      ? run.args.map((part, index) => (typeof part === 'string' ? part : argument(evaluate(part), `args.${index}`)))
      : listOf(evaluate(run.args)).map((value, index) => argument({ value }, `args.${index}`));
    if (argvFault([command, ...args]) !== null) throw new Unusable('args', 'too_long');
    const cwd = text(run.cwd, 'cwd');
    const target = { image: optional('image'), digest: optional('digest'), job_id: optional('job_id') };
    return { run: { ...run.template, command, args, cwd, ...target } };
  } catch (error) {
    if (error instanceof Unusable) return { at: error.at, error: error.code };
    throw error;
  }
}

const isList = (args: CompiledRun['args']): args is readonly Part[] => Array.isArray(args);

function listOf(outcome: Outcome): unknown[] {
  if ('error' in outcome) throw new Unusable('args', outcome.error);
  if (!Array.isArray(outcome.value)) throw new Unusable('args', 'not_a_list');
  if (outcome.value.length > RUN_LIMITS.args) throw new Unusable('args', 'too_long');
  return outcome.value;
}

function textOf(outcome: Outcome, { max, fault, mayBeEmpty = false }: Bounds, at: string): string {
  if ('error' in outcome) throw new Unusable(at, outcome.error);
  const { value } = outcome;
  if (typeof value !== 'string') throw new Unusable(at, 'not_a_string');
  if (value === '' && !mayBeEmpty) throw new Unusable(at, 'empty');
  if (value.length > max) throw new Unusable(at, 'too_long');
  // Neither reaches a program as it is.
  if (/[\0\p{Cs}]/u.test(value)) throw new Unusable(at, 'unprintable');
  if (fault && fault(value) !== null) throw new Unusable(at, 'invalid');
  return value;
}
