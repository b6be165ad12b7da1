#!/usr/bin/env node
'use strict';

const { existsSync } = require('node:fs');
const { join } = require('node:path');

const main = join(__dirname, '..', 'dist', 'cli', 'main.js');
if (existsSync(main)) {
  require(main);
} else {
  console.error('workloadd is not built yet. Run `npm run build` in the checkout and try again.');
  process.exitCode = 1;
}
