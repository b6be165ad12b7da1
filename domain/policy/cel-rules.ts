import type { ASTNode } from '@marcbachmann/cel-js';
import { EVENT_FIELDS } from './cel-environment';
import { MAX_GLOB_CHARS } from './glob';

/** Functions that expressions may call; everything else the CEL library brings is refused. */
const FUNCTIONS = new Set(['has', 'size', 'string', 'int', 'double', 'bool', 'dyn', 'timestamp', 'duration', 'glob']);
const METHODS = new Set([
  ...['size', 'startsWith', 'endsWith', 'contains', 'indexOf', 'substring', 'lowerAscii', 'upperAscii', 'trim'],
  ...['split', 'join', 'all', 'exists', 'exists_one', 'map', 'filter', 'bind'],
  ...['or', 'orValue', 'hasValue', 'value', 'of', 'none'],
  ...['getFullYear', 'getMonth', 'getDate', 'getDayOfMonth', 'getDayOfWeek', 'getDayOfYear'],
  ...['getHours', 'getMinutes', 'getSeconds', 'getMilliseconds'],
]);
const WITH_VARIABLE = new Set(['all', 'exists', 'exists_one', 'map', 'filter', 'bind']);
const ARITHMETIC = new Set(['+', '-', '*', '/', '%']);

/** Why an expression that the CEL library would take is refused, and where. */
export interface Refusal {
  message: string;
  position: number;
}

/** Looks through a parsed expression for what policies may not use; null when there is nothing. */
export function refusalOf(node: ASTNode): Refusal | null {
  const message = whyRefused(node);
  if (message) return { message, position: node.range.start };
  for (const child of children(node)) {
    const refusal = refusalOf(child);
    if (refusal) return refusal;
  }
  return null;
}

function children(node: ASTNode): ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'map':
      return node.args.flat();
    case '!_':
    case '-_':
      return [node.args];
    default:
      return node.args;
  }
}

function whyRefused(node: ASTNode): string | null {
  switch (node.op) {
    case 'call':
      return refusedFunction(node.args[0], node.args[1]);
    case 'rcall':
      return refusedMethod(node.args[0], node.args[2]);
    case '.':
    case '.?':
      return isEvent(node.args[0]) && !Object.hasOwn(EVENT_FIELDS, node.args[1])
        ? `event has no field "${node.args[1]}"; it has ${Object.keys(EVENT_FIELDS).join(', ')}`
        : null;
    case '[]':
    case '[?]':
      return isEvent(node.args[0]) ? 'write event.source, not event["source"]' : null;
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return mixedArithmetic(node.op, node.args);
    default:
      return null;
  }
}

function refusedFunction(name: string, args: ASTNode[]): string | null {
  if (!FUNCTIONS.has(name)) return unavailable(name);
  if (name === 'glob') return literalOnly('the pattern of glob()', args[1], MAX_GLOB_CHARS);
  // The library's duration parser takes cubic time on a long run of digits.
  if (name === 'duration') return literalOnly('the argument of duration()', args[0], 32);
  return null;
}

function refusedMethod(name: string, args: ASTNode[]): string | null {
  if (!METHODS.has(name)) return unavailable(name);
  if (name === 'split' || name === 'join') return literalOnly(`the separator of ${name}()`, args[0], 16);
  if (name.startsWith('get') && args.length > 0) return `${name}() takes no time zone here: times are UTC`;
  const variable = args[0];
  if (WITH_VARIABLE.has(name) && variable?.op === 'id' && ['event', 'tenant'].includes(variable.args)) {
    return `"${variable.args}" cannot be a variable of ${name}()`;
  }
  return null;
}

const unavailable = (name: string): string =>
  name === 'matches'
    ? 'matches() is not available, a regular expression can stall the service: use glob(text, "release/*")'
    : `${name}() is not available in policies`;

function literalOnly(what: string, node: ASTNode | undefined, max: number): string | null {
  if (!node) return null;
  const literal = node.op === 'value' && typeof node.args === 'string' ? node.args : null;
  return literal !== null && literal.length <= max ? null : `${what} must be a literal of at most ${max} characters`;
}

/** `event.data.files + 1` can only fail: JSON numbers are doubles and CEL does not mix them with ints. */
function mixedArithmetic(op: string, [left, right]: [ASTNode, ASTNode]): string | null {
  if (!ARITHMETIC.has(op)) return null;
  const mixed = (isData(left) && isInt(right)) || (isInt(left) && isData(right));
  if (!mixed) return null;
  return op === '%'
    ? 'JSON numbers are doubles, which have no %: write int(event.data.…) % 2'
    : `JSON numbers are doubles: write 1.0 instead of 1, or int(event.data.…) ${op} 1`;
}

const isEvent = (node: ASTNode): boolean => node.op === 'id' && node.args === 'event';
const isInt = (node: ASTNode): boolean => node.op === 'value' && typeof node.args === 'bigint';

function isData(node: ASTNode): boolean {
  if (node.op === '.') return isEvent(node.args[0]) ? node.args[1] === 'data' : isData(node.args[0]);
  return node.op === '[]' && isData(node.args[0]);
}
