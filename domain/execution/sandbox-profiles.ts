import { sandboxProfile, type SandboxProfile } from '../../contracts/sandbox-profile';
import { commandLine } from './evidence';

export const DEFAULT_PROFILE_ID = 'default';

const WORKSPACE = ['$cwd', '$workerDir'];
const EVERY_OUTPUT = { result: true, artifacts: true, logs: true };

/** The profiles that need no file. No file may take one of their ids. */
export const BUNDLED_PROFILES: readonly SandboxProfile[] = [
  {
    id: 'default',
    title: 'Workspace for reading, any command, any network',
    readPaths: WORKSPACE,
    workerOutput: EVERY_OUTPUT,
    execute: { mode: 'any' },
    network: { mode: 'any' },
  },
  {
    id: 'readonly',
    title: 'Workspace for reading, any command, no network',
    readPaths: WORKSPACE,
    workerOutput: EVERY_OUTPUT,
    execute: { mode: 'any' },
    network: { mode: 'none' },
  },
  {
    id: 'workspace-write',
    title: 'Workspace for reading and writing, any command, any network',
    readPaths: WORKSPACE,
    writePaths: ['$cwd'],
    workerOutput: EVERY_OUTPUT,
    execute: { mode: 'any' },
    network: { mode: 'any' },
  },
  {
    id: 'locked-down',
    title: 'Input for reading, result for writing, no command, no network',
    readPaths: ['$inputPath'],
    workerOutput: { result: true, artifacts: false, logs: false },
    execute: { mode: 'none' },
    network: { mode: 'none' },
  },
].map((profile) => sandboxProfile.parse({ schemaVersion: 1, ...profile }));

/** Why a profile cannot be had. Nothing ever falls back to another profile. */
export type ProfileFault = 'sandbox-profile-not-found' | 'sandbox-profile-invalid' | 'sandbox-profile-path-escape';

export class ProfileError extends Error {
  constructor(
    readonly code: ProfileFault,
    message: string,
  ) {
    super(message);
    this.name = 'ProfileError';
  }
}

export const bundledProfile = (id: string): SandboxProfile | null =>
  BUNDLED_PROFILES.find((profile) => profile.id === id) ?? null;

/** Reads a profile's JSON text. Throws {@link ProfileError} `sandbox-profile-invalid` that names field and rule. */
export function parseProfile(text: string, origin: string): SandboxProfile {
  const invalid = (why: string): ProfileError =>
    new ProfileError('sandbox-profile-invalid', `sandbox profile ${origin}: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('is not JSON');
  }
  const parsed = sandboxProfile.safeParse(value);
  if (!parsed.success) {
    const faults = parsed.error.issues.slice(0, 10).map(({ path, message }) => `${path.join('.') || 'it'} ${message}`);
    throw invalid(faults.join('; '));
  }
  if (bundledProfile(parsed.data.id)) throw invalid(`the id ${parsed.data.id} is a bundled profile's; choose another`);
  return parsed.data;
}

/** Why the profile does not let the command run; null when it does. */
export function commandDenied(profile: SandboxProfile, command: string, args: readonly string[]): string | null {
  const { mode, allow, deny } = profile.execute;
  const line = commandLine(command, args).trim();
  if (mode === 'none') return `profile ${profile.id} lets no command run`;
  if (deny.includes(line) || deny.includes(command)) return `profile ${profile.id} denies this command`;
  if (mode === 'allowlist' && !allow.includes(line)) return `the command is not on the list of profile ${profile.id}`;
  return null;
}

/** Variables of the service itself, which no command ever gets. */
const NEVER_FORWARDED = /^(WORKLOADD_|TEMPORAL_|PG[A-Z]+$|DATABASE_URL$|CREDENTIALS_DIRECTORY$|NOTIFY_SOCKET$)/;

/**
 * Names of the host's variables that a command gets, in the order the profile names them. `asked` narrows them; a name that the
 * profile does not expose is the error.
 */
export function forwardedNames(
  profile: SandboxProfile,
  host: NodeJS.ProcessEnv,
  asked?: readonly string[],
): { names: string[] } | { denied: string } {
  const { inherit, expose, deny } = profile.env;
  const allowed = (inherit ? Object.keys(host) : expose).filter(
    (name) => !deny.includes(name) && !NEVER_FORWARDED.test(name),
  );
  const refused = asked?.find((name) => !allowed.includes(name));
  if (refused !== undefined) return { denied: refused };
  const names = asked ? allowed.filter((name) => asked.includes(name)) : allowed;
  return { names: [...new Set(names)].filter((name) => host[name] !== undefined) };
}
