import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The version in package.json, seen from the build and from the sources. */
export function serviceVersion(): string {
  for (const folder of ['..', '../..'].map((up) => path.join(__dirname, up))) {
    try {
      const { name, version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Record<
        string,
        unknown
      >;
      if (name === 'opencrow-workloadd') return String(version);
    } catch {
      // Not this folder.
    }
  }
  return 'unknown';
}
