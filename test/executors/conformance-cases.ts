import type { ExecutionRequest } from '../../contracts/execution';

export interface ConformanceCase {
  /** Reads after "a command that". */
  name: string;
  request: Partial<ExecutionRequest>;
  status: 'completed' | 'failed';
  /** Golden values, where the evidence of others is known. */
  exitCode?: number;
  digest?: string;
}

const SHA_EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const SHA_HELLO = 'sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03';
const SHA_MIB_OF_NUL = 'sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58';

const printf = (...args: string[]): Partial<ExecutionRequest> => ({ command: 'printf', args });
const sh = (script: string): Partial<ExecutionRequest> => ({ command: 'sh', args: ['-c', script] });

/** What every backend must leave the same evidence of. They need sh, printf, true, head, seq and sleep. */
export const CONFORMANCE_CASES: readonly ConformanceCase[] = [
  { name: 'prints a line', request: printf('hello\n'), status: 'completed', digest: SHA_HELLO },
  { name: 'prints nothing', request: { command: 'true' }, status: 'completed', exitCode: 0, digest: SHA_EMPTY },
  { name: 'prints to stderr only', request: sh('echo oops >&2'), status: 'completed', digest: SHA_EMPTY },
  { name: 'prints and fails', request: sh('printf partly; exit 7'), status: 'failed', exitCode: 7 },
  ...[1, 2, 126, 127, 137, 255].map((exitCode) => ({
    name: `exits with ${exitCode}`,
    request: sh(`exit ${exitCode}`),
    status: 'failed' as const,
    exitCode,
    digest: SHA_EMPTY,
  })),
  { name: 'prints bytes that are no text', request: printf('\\377\\376\\200a'), status: 'completed' },
  { name: 'ends in the middle of a character', request: printf('ok\\303'), status: 'completed' },
  {
    name: 'prints a character in two halves',
    request: sh("printf 'a\\303'; sleep 0.2; printf '\\244b\\360\\237'; sleep 0.1; printf '\\230\\200'"),
    status: 'completed',
  },
  { name: 'begins with a byte order mark', request: printf('\\357\\273\\277x'), status: 'completed' },
  { name: 'ends lines in two ways', request: printf('a\\r\\nb\\n\\r'), status: 'completed' },
  { name: 'prints NUL among text', request: printf('a\\000b\\000'), status: 'completed' },
  {
    name: 'prints a MiB of NUL',
    request: { command: 'head', args: ['-c', '1048576', '/dev/zero'] },
    status: 'completed',
    digest: SHA_MIB_OF_NUL,
  },
  { name: 'prints more than a MiB of text', request: { command: 'seq', args: ['170000'] }, status: 'completed' },
  {
    name: 'has odd arguments',
    request: printf('%s|', 'a b', '', '"q"', "'", '*', '$HOME', '`id`', '\\', 'ä€😀', 'two\nlines', '--', '-x', '=a'),
    status: 'completed',
  },
  { name: 'has a label', request: { command: 'true', label: 'nightly check' }, status: 'completed' },
];
