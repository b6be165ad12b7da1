import { readFileSync } from 'node:fs';
import path from 'node:path';
import { referencePage } from '../../cli/config/reference-page';

test('docs/configuration.md is what the option schema generates (npm run docs:config)', () => {
  expect(readFileSync(path.resolve(__dirname, '../../docs/configuration.md'), 'utf8')).toBe(referencePage());
});
