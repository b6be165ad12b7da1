// What must hold in package-lock.json: Temporal's packages work together only at one version, loading JSON histories needs one
// hoisted protobufjs 8, and `npm ci` refuses a lock file without the optional packages of all platforms.
import { readFileSync } from 'node:fs';

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const problems = [];

const temporal = Object.entries(packages).filter(([path]) => /node_modules\/@temporalio\/[^/]+$/.test(path));
const versions = new Set(temporal.map(([, entry]) => entry.version));
if (versions.size !== 1) problems.push(`@temporalio/* must have one version, found ${[...versions].join(', ')}`);

const hoisted = packages['node_modules/protobufjs']?.version ?? 'none';
if (!hoisted.startsWith('8.')) problems.push(`the hoisted protobufjs must be version 8, found ${hoisted}`);
for (const [path, entry] of Object.entries(packages)) {
  const isNestedCopy = path.endsWith('/node_modules/protobufjs') && entry.version.startsWith('8.');
  if (isNestedCopy) problems.push(`a second copy of protobufjs 8 at ${path}`);
}

const locked = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 13)));
for (const { optionalDependencies } of Object.values(packages)) {
  for (const name of Object.keys(optionalDependencies ?? {})) {
    if (!locked.has(name)) problems.push(`the optional package ${name} is not in package-lock.json`);
  }
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
