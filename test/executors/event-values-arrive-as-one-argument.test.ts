import { writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { nodeBackend } from '../../executors/node/node-backend';
import { eventOf, policyOf, when } from '../support/policy';
import { temporaryFolder } from '../support/temporary-folder';
import { execute } from './harness';

const VALUES = 12;
const hostile = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '',
      ' ',
      'a b',
      '$(touch pwned)',
      '`touch pwned`',
      '; touch pwned',
      '| touch pwned',
      "'",
      '"',
      '\\',
    ),
    fc.constantFrom('--help', '-e', '*', '~', '${HOME}', '%PATH%', '\n', '\r\n', '\t', '{{x}}', '😀', '\u202e'),
  )
  .filter((value) => !/[\0\p{Cs}]/u.test(value));

test('whatever an event holds arrives as one argument to the letter, and no shell sees it', async () => {
  const cwd = temporaryFolder();
  writeFileSync(path.join(cwd, 'tell.cjs'), 'process.stdout.write(JSON.stringify(process.argv.slice(2)))');
  const args = ['tell.cjs', ...Array.from({ length: VALUES }, (_, index) => ({ cel: `event.data.values[${index}]` }))];
  const run = JSON.stringify({ command: process.execPath, args });
  const policy = policyOf(when('a', 'true', `decision: dispatch, to: { executor: node }, run: ${run}`));
  const written = fc.array(hostile, { minLength: VALUES, maxLength: VALUES });
  await fc.assert(
    fc.asyncProperty(written, async (values) => {
      const { run: filled } = evaluatePolicy(policy, eventOf({ values }), { tenant: 'default' });
      const printed: Uint8Array[] = [];
      const envelope = await execute(
        nodeBackend,
        { command: filled!.command, args: filled!.args, cwd },
        { context: { output: (stream, chunk) => void (stream === 'stdout' && printed.push(Buffer.from(chunk))) } },
      );
      expect(JSON.parse(Buffer.concat(printed).toString('utf8'))).toEqual(values);
      expect(envelope.status).toBe('completed');
      expect(JSON.parse(envelope.provenance.argvJson!)).toEqual([process.execPath, 'tell.cjs', ...values]);
    }),
    { numRuns: 10 },
  );
});
