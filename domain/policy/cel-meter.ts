import type { ASTNode } from '@marcbachmann/cel-js';

/**
 * Evaluation is paid for in units, so that no event can make it slow: one per step, and before an operator, function or loop
 * gets a value, one more per member of it and per 32 characters of its strings. Units do not depend on the machine's speed: the
 * same rule on the same event always costs the same. A unit takes some 0.1 µs.
 */
export class Meter {
  spent = 0;
  #lastError: unknown;

  constructor(readonly limit: number) {}

  get exhausted(): boolean {
    return this.spent > this.limit;
  }

  charge(units: number): void {
    this.spent += units;
    if (this.exhausted) throw TOO_EXPENSIVE;
  }

  /** An error pays once, however many nodes it passes on its way out: the library makes each with an excerpt of the source. */
  chargeError(error: unknown): void {
    if (error === this.#lastError) return;
    this.#lastError = error;
    this.charge(ERROR_UNITS);
  }
}

/** Thrown when a meter is used up. One object: loops of the library catch and drop errors, which must stay cheap. */
export const TOO_EXPENSIVE = new Error('too_expensive');

/** Units that one expression may cost, and all expressions together on one event. */
export const EXPRESSION_UNITS = 200_000;
export const EVENT_UNITS = 1_000_000;

const CHARS_PER_UNIT = 32;
const ERROR_UNITS = 50;

/** Evaluation is synchronous, so at any time at most one meter runs. */
let running: Meter | null = null;

/** Evaluates with a meter. When it is used up the result is worthless: the library may have dropped the error. */
export function metered<T>(meter: Meter, evaluate: () => T): T {
  running = meter;
  try {
    const value = evaluate();
    if (meter.exhausted) throw TOO_EXPENSIVE;
    return value;
  } finally {
    running = null;
  }
}

/** The members of a library node that are evaluated. Not in its types; checked below. */
interface Node {
  op: string;
  args: unknown;
  meta: { evaluate: Evaluate; alternate?: Node; macro?: { evaluate: Evaluate } };
  evaluate: Evaluate;
}
type Evaluate = (evaluator: unknown, node: unknown, context: unknown) => unknown;

/** Nodes that only find their way to a value: their operands are not read as a whole. */
const NAVIGATION = new Set(['.', '.?', '[]', '[?]', '&&', '||', '?:', 'list', 'map', 'value', 'id']);

/** Makes every step of a checked expression pay its way. Must run after the type check, which chooses how nodes evaluate. */
export function installMeter(root: ASTNode): void {
  visit(root, 0, new Set());
}

function visit(value: unknown, charsWeight: number, seen: Set<unknown>): void {
  if (value === null || typeof value !== 'object' || seen.has(value)) return;
  seen.add(value);
  if (isNode(value)) {
    visitNode(value, charsWeight, seen);
  } else if (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) {
    for (const member of Object.values(value)) visit(member, charsWeight, seen);
  }
}

const isNode = (value: object): value is Node => 'op' in value && 'args' in value && 'evaluate' in value;

function visitNode(node: Node, charsWeight: number, seen: Set<unknown>): void {
  const { meta } = node;
  if (typeof meta?.evaluate !== 'function') throw new Error('this version of the CEL library cannot be metered');
  const operandWeight = NAVIGATION.has(node.op) ? 0 : weightOf(node);
  if (node.op === 'comprehension') visit((node.args as { iterable: Node }).iterable, operandWeight, seen);
  // What a loop accumulates is not read again at each step.
  visit(node.args, node.op === 'comprehension' ? 0 : operandWeight, seen);
  visit(meta.alternate ?? meta.macro, operandWeight, seen);
  node.evaluate = (evaluator, _node, context) => {
    running?.charge(1);
    const result = evaluateNode(node, evaluator, context);
    if (charsWeight > 0 && running) running.charge(sizeOf(result, charsWeight, running.limit - running.spent));
    return result;
  };
}

function evaluateNode(node: Node, evaluator: unknown, context: unknown): unknown {
  const { meta } = node;
  const chosen = meta.alternate ?? meta.macro;
  try {
    return chosen ? chosen.evaluate(evaluator, chosen, context) : meta.evaluate(evaluator, node, context);
  } catch (error) {
    running?.chargeError(error);
    throw error;
  }
}

/** Units per character of a node's operands. A glob may try the longest piece after a star anew at every character. */
function weightOf(node: Node): number {
  if (node.op !== 'call' || !Array.isArray(node.args) || node.args[0] !== 'glob') return 1 / CHARS_PER_UNIT;
  const pattern = (node.args[1] as Node[])[1]?.args;
  const pieces = typeof pattern === 'string' ? pattern.split('*').slice(1) : [];
  return 1 / 8 + Math.max(0, ...pieces.map((piece) => piece.length)) / 16;
}

/** Members of a value, all levels, plus its characters by weight; counting stops past the limit. */
function sizeOf(value: unknown, charsWeight: number, limit: number): number {
  let size = 0;
  const rest: unknown[] = [value];
  while (rest.length > 0 && size <= limit) {
    const next = rest.pop();
    size += 1;
    if (typeof next === 'string') {
      size += Math.floor(next.length * charsWeight);
    } else if (Array.isArray(next)) {
      for (const member of next) rest.push(member);
    } else if (next instanceof Map) {
      for (const [key, member] of next) rest.push(key, member);
    }
  }
  return Math.min(size, Math.max(0, limit) + 1);
}
