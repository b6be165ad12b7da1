// Writes docs/configuration.md from the option schema of the build.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { referencePage } = createRequire(import.meta.url)(join(root, 'dist', 'cli', 'config', 'reference-page.js'));
mkdirSync(join(root, 'docs'), { recursive: true });
writeFileSync(join(root, 'docs', 'configuration.md'), referencePage());
console.log('docs/configuration.md is up to date');
