// Sums jest's JSON results into the line "N passed, N failed"; a test file that could not run counts as one failure.
import { existsSync, readFileSync } from 'node:fs';

const [required, ...optional] = process.argv.slice(2);
const results = [required, ...optional.filter(existsSync)].map((file) =>
  existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { numPassedTests: 0, numFailedTests: 1 },
);
const passed = results.reduce((sum, result) => sum + result.numPassedTests, 0);
const failed = results.reduce(
  (sum, result) => sum + result.numFailedTests + (result.numRuntimeErrorTestSuites ?? 0),
  0,
);
for (const { assertionResults } of results.flatMap(({ testResults = [] }) => testResults)) {
  for (const { status, fullName } of assertionResults) if (status === 'pending') console.log(`skipped: ${fullName}`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
