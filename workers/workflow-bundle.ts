import { existsSync } from 'node:fs';
import path from 'node:path';

/** Path of the prebuilt workflow bundle, seen from the build and from the sources. Fails when nothing was built. */
export function workflowBundlePath(): string {
  const candidates = ['../workflow-bundle.js', '../dist/workflow-bundle.js'].map((name) => path.join(__dirname, name));
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found === undefined) throw new Error('the workflow bundle is missing: run `npm run build` in the checkout');
  return found;
}
