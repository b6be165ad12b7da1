// Runs every static check, tells all that failed, and exits 1 if any did.
import { spawnSync } from 'node:child_process';

const CHECKS = ['format:check', 'lint', 'typecheck', 'cycles', 'unused', 'versions'];

const failed = CHECKS.filter((name) => {
  console.log(`\n> ${name}`);
  const { status } = spawnSync('npm', ['run', '--silent', name], { stdio: 'inherit' });
  return status !== 0;
});
console.log(failed.length === 0 ? '\nall checks passed' : `\nfailed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
