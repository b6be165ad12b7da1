// Sums jest's JSON results into the line "N passed, N failed"; a test file that could not run counts as one failure.
// The second file is a run of the failed files again: it takes the place of what the first says of them, and tests that passed only
// then are named.
import { existsSync, readFileSync } from 'node:fs';

const read = (file) => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).testResults : null);
const [required, again, ...others] = process.argv.slice(2);

const failedIn = ({ assertionResults }) => assertionResults.filter(({ status }) => status === 'failed');
const first = read(required) ?? [{ name: required, assertionResults: [], status: 'failed' }];
const second = new Map((read(again) ?? []).map((file) => [file.name, file]));
for (const before of first) {
  const after = second.get(before.name);
  if (before.status !== 'failed' || after?.status !== 'passed') continue;
  const names = failedIn(before).map(({ fullName }) => fullName);
  console.log(`passed only at its second run: ${names.join('; ') || before.name}`);
}

const files = [...first.map((file) => second.get(file.name) ?? file), ...others.flatMap((file) => read(file) ?? [])];
let passed = 0;
let failed = 0;
for (const file of files) {
  const broken = file.status === 'failed' && failedIn(file).length === 0;
  if (broken) console.log(`could not run: ${file.name}`);
  failed += failedIn(file).length + (broken ? 1 : 0);
  for (const { status, fullName } of file.assertionResults) {
    if (status === 'passed') passed += 1;
    if (status === 'pending') console.log(`skipped: ${fullName}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
