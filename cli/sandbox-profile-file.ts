import path from 'node:path';
import type { SandboxProfile } from '../contracts/sandbox-profile';
import { bundledProfile, parseProfile, ProfileError } from '../domain/execution/sandbox-profiles';
import { readProfile } from '../executors/command/worker-profiles';

/** The profile of this name: a bundled one, else a JSON file at or below `cwd`. Throws {@link ProfileError}. */
export function sandboxProfileFor(name: string, cwd: string): SandboxProfile {
  const bundled = bundledProfile(name);
  if (bundled) return bundled;
  const file = path.resolve(cwd, name);
  const within = path.relative(cwd, file);
  if (within === '..' || within.startsWith(`..${path.sep}`) || path.isAbsolute(within)) {
    throw new ProfileError('sandbox-profile-path-escape', `sandbox profile ${name} must lie below the working folder`);
  }
  return parseProfile(readProfile(file, name), name);
}
