// Writes docs/openapi.json from the declared routes, as built into dist/.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { openApiDocument } = require('../dist/api/openapi.js');
const { ROUTES } = require('../dist/api/routes/index.js');

const target = new URL('../docs/openapi.json', import.meta.url);
writeFileSync(target, `${JSON.stringify(openApiDocument(ROUTES), null, 2)}\n`);
console.log('docs/openapi.json is written');
