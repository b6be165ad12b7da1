import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { SandboxProfile } from '../contracts/sandbox-profile';
import { BUNDLED_PROFILES, bundledProfile, parseProfile, ProfileError } from '../domain/execution/sandbox-profiles';

const MAX_PROFILE_BYTES = 256 * 1024;

/** The profile of this name: a bundled one, else a JSON file at or below `cwd`. Throws {@link ProfileError}. */
export function sandboxProfileFor(name: string, cwd: string): SandboxProfile {
  const bundled = bundledProfile(name);
  if (bundled) return bundled;
  const file = path.resolve(cwd, name);
  const within = path.relative(cwd, file);
  if (within === '..' || within.startsWith(`..${path.sep}`) || path.isAbsolute(within)) {
    throw new ProfileError('sandbox-profile-path-escape', `sandbox profile ${name} must lie below the working folder`);
  }
  return parseProfile(read(file, name), name);
}

function read(file: string, name: string): string {
  const known = BUNDLED_PROFILES.map(({ id }) => id).join(', ');
  try {
    const { size } = statSync(file);
    if (size > MAX_PROFILE_BYTES) {
      throw new ProfileError(
        'sandbox-profile-invalid',
        `sandbox profile ${name} is larger than ${MAX_PROFILE_BYTES} bytes`,
      );
    }
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof ProfileError) throw error;
    throw new ProfileError(
      'sandbox-profile-not-found',
      `there is no sandbox profile ${name}: name ${known}, or a JSON file`,
    );
  }
}
