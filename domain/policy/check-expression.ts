import { compileExpression, ExpressionInvalid } from './expression';
import type { Path } from './yaml-path';

/** Notes a problem at a path; `index` is a place within the string there. */
export type Report = (path: Path, detail: string, index?: number) => void;

/** Reports what is wrong with the expression at a path, if it is one; its type must be one of `types`. */
export function checkExpression(text: unknown, path: Path, types: readonly string[], report: Report): void {
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

/** A member of raw data; undefined where there is none. */
export function member(value: unknown, key: string): unknown {
  return value !== null && typeof value === 'object' && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}
