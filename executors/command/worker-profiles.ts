import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { SandboxProfile } from '../../contracts/sandbox-profile';
import { bundledProfile, BUNDLED_PROFILES, parseProfile, ProfileError } from '../../domain/execution/sandbox-profiles';

const MAX_PROFILE_BYTES = 256 * 1024;
const PROFILE_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.:-]{0,127}$/;

/** The sandbox profiles that a worker knows: the bundled ones and the files `<id>.json` of its folder. */
export class WorkerProfiles {
  /** Without a folder there are only the bundled ones. */
  constructor(private readonly folder: string | undefined) {}

  /** Read anew each time. Throws {@link ProfileError}; never gives another profile than the one asked for. */
  find(id: string): SandboxProfile {
    const bundled = bundledProfile(id);
    if (bundled) return bundled;
    if (this.folder === undefined || !PROFILE_ID.test(id)) {
      throw new ProfileError('sandbox-profile-not-found', `this worker has no sandbox profile ${id.slice(0, 128)}`);
    }
    const profile = parseProfile(readProfile(path.join(this.folder, `${id}.json`), id), id);
    if (profile.id === id) return profile;
    throw new ProfileError('sandbox-profile-invalid', `sandbox profile ${id}: the file's id is ${profile.id}`);
  }
}

/** The text of a profile's file. Throws {@link ProfileError}, naming the profile `name`. */
export function readProfile(file: string, name: string): string {
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
