import { EvaluationError, ParseError, TypeError as CelTypeError } from '@marcbachmann/cel-js';
import type { ASTNode } from '@marcbachmann/cel-js';
import { environment } from './cel-environment';
import type { CelContext } from './cel-environment';
import { EXPRESSION_UNITS, installMeter, Meter, metered, TOO_EXPENSIVE } from './cel-meter';
import { refusalOf } from './cel-rules';

/** A CEL expression that passed every check. Evaluation is synchronous, pure and bounded. */
export interface Expression {
  readonly source: string;
  readonly ast: ASTNode;
  /** Type found by the checker, e.g. `bool`, `string`, `dyn`. */
  readonly type: string;
  readonly run: (context: CelContext) => unknown;
}

/** An expression that cannot be used; `position` counts UTF-16 units from the start of the expression. */
export class ExpressionInvalid extends Error {
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(message);
    this.name = 'ExpressionInvalid';
  }
}

/** What an evaluation came to: a value, or a code of why there is none. Codes never hold values of the event. */
export type Outcome = { value: unknown } | { error: string; position: number | null };

/** Parses, type-checks and vets an expression. Throws {@link ExpressionInvalid}. */
export function compileExpression(source: string): Expression {
  const parsed = parse(source);
  const refusal = refusalOf(parsed.ast);
  if (refusal) throw new ExpressionInvalid(refusal.message, refusal.position);
  const check = parsed.check();
  if (!check.valid) throw invalid(check.error);
  installMeter(parsed.ast);
  return { source, ast: parsed.ast, type: check.type ?? 'dyn', run: (context) => parsed(context) as unknown };
}

/** Evaluates at the expense of a budget of units for the whole event. */
export function evaluateExpression(expression: Expression, context: CelContext, budget: Meter): Outcome {
  const meter = new Meter(Math.min(EXPRESSION_UNITS, Math.max(0, budget.limit - budget.spent)));
  try {
    return { value: metered(meter, () => expression.run(context)) };
  } catch (error) {
    return failure(error);
  } finally {
    budget.spent += meter.spent;
  }
}

function parse(source: string) {
  try {
    return environment.parse(source);
  } catch (error) {
    throw invalid(error);
  }
}

function invalid(error: unknown): ExpressionInvalid {
  if (error instanceof ParseError || error instanceof CelTypeError) {
    return new ExpressionInvalid(error.summary, error.range?.start ?? 0);
  }
  // Deep nesting can end in a stack overflow before the library's own limit.
  return new ExpressionInvalid('cannot be parsed: too long or nested too deeply', 0);
}

function failure(error: unknown): { error: string; position: number | null } {
  if (error === TOO_EXPENSIVE) return { error: 'too_expensive', position: null };
  if (error instanceof EvaluationError && /^[a-z_]{1,64}$/.test(error.code)) {
    return { error: error.code, position: error.range?.start ?? null };
  }
  return { error: 'evaluation_error', position: null };
}
