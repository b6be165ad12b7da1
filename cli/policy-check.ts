import { readFile } from 'node:fs/promises';
import type { PolicyProblem } from '../contracts/policy';
import type { CompiledPolicy } from '../domain/policy/compile';
import { parsePolicy, type ParseOptions } from '../domain/policy/parse';
import { PolicyInvalid } from '../domain/policy/policy-invalid';

/** Longest part of a source line that is shown. */
const EXCERPT_CHARS = 120;

/**
 * Checks a policy file as `PUT /api/policy` would, pools excepted: which exist is known to the service only. The text is for a
 * terminal: a summary with the hash, or each problem as `file:line:column` with the line and a caret. Never throws: a file that
 * cannot be read is a problem too.
 */
export async function checkPolicyFile(path: string): Promise<{ ok: boolean; text: string }> {
  const read = await readPolicyFile(path);
  if ('text' in read) return { ok: false, text: read.text };
  const { policy } = read;
  const pools = [...new Set(policy.rules.map((rule) => rule.snapshot.to.pool ?? 'chosen by what is required'))];
  const rules = `${policy.rules.length} ${policy.rules.length === 1 ? 'rule' : 'rules'}`;
  return { ok: true, text: `${path}: ok, ${rules}, pools: ${pools.join(', ') || 'none'}\nhash ${policy.hash}` };
}

/** Reads, checks and compiles a policy file, or says in `text` what is wrong with it. Pools are checked when they are given. */
export async function readPolicyFile(
  path: string,
  options: ParseOptions = {},
): Promise<{ policy: CompiledPolicy; source: string } | { text: string }> {
  let source: string;
  try {
    source = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (error) {
    return { text: `${path}: ${unreadable(error)}` };
  }
  try {
    return { policy: parsePolicy(source, options).policy, source };
  } catch (error) {
    if (!(error instanceof PolicyInvalid)) throw error;
    const lines = source.split(/\r\n|\r|\n/);
    const blocks = error.problems.map((problem) => describe(path, lines, problem));
    const count = `${blocks.length} ${blocks.length === 1 ? 'problem' : 'problems'}`;
    return { text: `${blocks.join('\n\n')}\n\n${path}: ${count}` };
  }
}

function unreadable(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file';
  return code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'is not UTF-8' : `cannot be read (${code ?? 'unknown error'})`;
}

function describe(path: string, lines: readonly string[], problem: PolicyProblem): string {
  const { line, column, rule_id, pointer, detail } = problem;
  const field = pointer.replace(/^\/(rules\/\d+\/?)?/, '').replaceAll('/', '.');
  const where = [rule_id === null ? '' : `rule ${rule_id}`, field].filter((part) => part !== '').join(', ');
  const head = `${path}:${line}:${column}: ${where ? `${where}: ` : ''}${detail}`;
  const shown = lines[line - 1];
  return shown === undefined || shown.trim() === '' ? head : `${head}\n${excerpt(shown, line, column)}`;
}

/** The line with a caret below the column; of a long line, the part around it. */
function excerpt(text: string, line: number, column: number): string {
  const from = column > EXCERPT_CHARS - 20 ? column - 60 : 0;
  const part = text.slice(from, from + EXCERPT_CHARS).replace(/\p{Cc}/gu, ' ');
  const gutter = `  ${line} | `;
  return `${gutter}${part}\n${' '.repeat(gutter.length - 2)}| ${' '.repeat(Math.max(0, column - 1 - from))}^`;
}
