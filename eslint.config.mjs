import { builtinModules } from 'node:module';
import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Which of our folders each folder may import from, besides itself. */
const ALLOWED_IMPORTS = {
  contracts: [],
  domain: ['contracts'],
  workflows: ['contracts', 'domain'],
  ledger: ['contracts', 'domain'],
  activities: ['contracts', 'domain', 'ledger'],
  executors: ['contracts', 'domain'],
  api: ['contracts', 'domain', 'ledger', 'activities'],
  workers: ['contracts', 'domain', 'workflows', 'ledger', 'activities', 'executors', 'api'],
  cli: ['contracts', 'domain', 'workflows', 'ledger', 'activities', 'executors', 'api', 'workers'],
};
const FOLDERS = [...Object.keys(ALLOWED_IMPORTS), 'examples', 'bench', 'test'];

/** Matches a relative import that climbs to one of the folders. */
const importOf = (folders) => `^(\\.\\.?/)*\\.\\./(${folders.join('|')})(/|$)`;

function importRules(files, { allowed, self, extra = [] }) {
  const forbidden = FOLDERS.filter((folder) => folder !== self && !allowed.includes(folder));
  const message = `${self} may import only from: ${allowed.length === 0 ? 'nothing of ours' : allowed.join(', ')}.`;
  const patterns = [{ regex: importOf(forbidden), message }, ...extra];
  return { files, rules: { 'no-restricted-imports': ['error', { patterns }] } };
}

const NODE_BUILT_INS = {
  regex: `^(node:|(${builtinModules.filter((name) => !name.startsWith('_')).join('|')})(/|$))`,
  message: 'Workflow code runs in a sandbox without Node built-ins.',
};

const forbidGlobals = (names, message) => ['error', ...names.map((name) => ({ name, message }))];

export default tseslint.config(
  // The n8n package has n8n's own lint.
  { ignores: ['**/dist/', '**/node_modules/', 'coverage/', 'n8n/'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-deprecated': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      'max-lines': ['error', { max: 400 }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'off',
    },
  },
  ...Object.entries(ALLOWED_IMPORTS).map(([self, allowed]) => importRules([`${self}/**/*.ts`], { self, allowed })),
  importRules(['workflows/**/*.ts'], {
    self: 'workflows',
    allowed: ALLOWED_IMPORTS.workflows,
    extra: [NODE_BUILT_INS],
  }),
  importRules(['workers/pool*', 'workers/pool*/**'], {
    self: 'workers',
    allowed: ['contracts', 'domain', 'executors'],
  }),
  {
    files: ['workflows/**/*.ts'],
    rules: {
      'no-restricted-globals': forbidGlobals(
        ['process', 'fetch', 'setInterval', 'setImmediate', 'Buffer', 'require', 'WeakRef', 'FinalizationRegistry'],
        'Not available, or not deterministic, in workflow code.',
      ),
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      'max-lines': ['error', { max: 500 }],
    },
  },
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'process',
          'console',
          'require',
          'module',
          '__dirname',
          'setTimeout',
          'clearTimeout',
          'setInterval',
          'clearInterval',
          'AbortSignal',
          'URL',
          'fetch',
          'Buffer',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['**/*.js'],
    languageOptions: { sourceType: 'commonjs' },
  },
);
