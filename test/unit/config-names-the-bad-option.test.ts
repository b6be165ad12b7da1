import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ConfigError, loadConfig, secretInArguments, unknownVariables } from '../../cli/config';
import type { CommandName } from '../../cli/config/command-options';
import { COMMAND_OPTIONS } from '../../cli/config/command-options';
import { OPTIONS } from '../../cli/config/options';
import { variableOf } from '../../cli/config/option';

const folder = mkdtempSync(path.join(os.tmpdir(), 'wl-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function problemsOf(
  command: CommandName,
  flags: Record<string, string>,
  env: NodeJS.ProcessEnv = {},
): readonly string[] {
  try {
    loadConfig(command, { flags, env });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('the configuration', () => {
  test.each([
    ['listen', '8766', 'must be HOST:PORT'],
    ['listen', '127.0.0.1:70000', 'must be HOST:PORT'],
    ['listen', '[::zz]:80', 'must be HOST:PORT'],
    ['shutdownGrace', '30', 'must be a duration'],
    ['shutdownGrace', '2h', 'must be between 1s and 1h'],
    ['databasePoolSize', '0', 'must be a whole number from 2 to 200'],
    ['databasePoolSize', '1e3', 'must be a whole number from 2 to 200'],
    ['lifecycleSocket', `/${'x'.repeat(107)}`, 'must not be longer than 107 bytes'],
    ['lifecycleSocketMode', '999', 'must be three octal digits'],
    ['pool', 'Has Spaces', 'must be lower case letters'],
    ['logLevel', 'loud', 'must be one of'],
    ['databaseSchema', 'x;drop', 'must be lower case letters'],
  ])('names %s %p and its rule, as flag and as variable', (name, value, rule) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    expect(problemsOf('up', { [name]: value })).toEqual([expect.stringContaining(`${flag} ${rule}`)]);
    const variable = variableOf(name);
    expect(problemsOf('up', {}, { [variable]: value })).toEqual([expect.stringContaining(`${variable} ${rule}`)]);
  });

  test('tells all problems at once', () => {
    expect(problemsOf('worker', { pool: 'NO', shutdownGrace: 'soon' })).toHaveLength(4);
  });

  test('flags go before variables, variables before defaults, and empty ones count as not set', () => {
    const env = { WORKLOADD_LISTEN: '127.0.0.1:2', WORKLOADD_LOG_LEVEL: '' };
    expect(loadConfig('up', { flags: { listen: '127.0.0.1:1' }, env }).listen.port).toBe(1);
    expect(loadConfig('up', { flags: {}, env }).listen.port).toBe(2);
    expect(loadConfig('up', { flags: {}, env: {} }).listen.port).toBe(8766);
    expect(loadConfig('up', { flags: {}, env }).logLevel).toBe('info');
  });

  test('a secret comes from a file or a variable, is read again from the file, and never shows in a problem', () => {
    const file = path.join(folder, 'url');
    writeFileSync(file, 'postgresql://u:first@h/d\n');
    const config = loadConfig('migrate', {
      flags: { databaseUrlFile: file },
      env: { DATABASE_URL: 'postgresql://other' },
    });
    expect(config.databaseUrl!().reveal()).toBe('postgresql://u:first@h/d');
    writeFileSync(file, 'postgresql://u:second@h/d\n');
    expect(config.databaseUrl!().reveal()).toBe('postgresql://u:second@h/d');
    rmSync(file);
    expect(config.databaseUrl!().reveal()).toBe('postgresql://u:second@h/d');

    expect(problemsOf('migrate', {}, { DATABASE_URL: 'mysql://hidden' }).join()).not.toContain('hidden');
    expect(problemsOf('migrate', {}, { DATABASE_URL_FILE: '/no/such' })).toEqual([
      expect.stringMatching(/DATABASE_URL_FILE names a file that cannot be read \(ENOENT\)/),
    ]);
  });

  test('secrets are refused as arguments, in both ways to write them', () => {
    expect(secretInArguments(['api', '--database-url', 'x'])).toContain('--database-url is not taken');
    expect(secretInArguments(['worker', '--worker-credential=x'])).toContain('--worker-credential is not taken');
    expect(secretInArguments(['api', '--database-url-file', 'x'])).toBeNull();
  });

  test('a misspelt variable is noticed', () => {
    expect(unknownVariables({ WORKLOADD_LISTN: '1', WORKLOADD_LISTEN: '1', WORKLOADD_DATABASE_URL_FILE: '1' })).toEqual(
      ['WORKLOADD_LISTN'],
    );
  });

  test('every default passes its own rule, and every option is used by a command', () => {
    const used = new Set<string>(Object.values(COMMAND_OPTIONS).flat());
    for (const [name, option] of Object.entries(OPTIONS)) {
      expect(used).toContain(name);
      if ('default' in option && option.default !== null)
        expect(() => option.schema.parse(option.default)).not.toThrow();
    }
  });
});
