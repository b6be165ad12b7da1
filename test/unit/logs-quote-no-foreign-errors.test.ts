import { spawnSync } from 'node:child_process';
import path from 'node:path';

const dist = path.resolve(__dirname, '../../dist');

/** What a process logs of an error that `expression` makes. */
function logged(expression: string): string {
  const script = `
    const { createLogger } = require(${JSON.stringify(`${dist}/cli/logger.js`)});
    const { Problem } = require(${JSON.stringify(`${dist}/contracts/problems.js`)});
    const caught = (work) => { try { work(); } catch (error) { return error; } };
    createLogger({ logLevel: 'info', logFormat: 'json' }).error({ err: ${expression} }, 'failed');`;
  return spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stderr;
}

test('an error of the language shows its kind and place, not what it quotes', () => {
  const line = logged("caught(() => JSON.parse('the-body-of-the-event'))");
  expect(JSON.parse(line)).toMatchObject({ msg: 'failed', err: { type: 'SyntaxError' } });
  expect(line).toContain('at ');
  expect(line).not.toContain('the-body');
});

test('so does the cause of an error of our own', () => {
  const line = logged("new Error('a step failed', { cause: caught(() => JSON.parse('the-body-of-the-event')) })");
  expect(JSON.parse(line)).toMatchObject({ err: { message: 'a step failed', cause: 'SyntaxError' } });
  expect(line).not.toContain('the-body');
});

test('an error of our own says what it has to say', () => {
  expect(JSON.parse(logged("new Problem('not_found', 'No such workload.')"))).toMatchObject({
    err: { message: 'No such workload.', code: 'not_found' },
  });
});
