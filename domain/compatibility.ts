import type { CompatibilityPolicy } from '../contracts/compatibility';
import type { ProblemItem } from '../contracts/problems';

/** What a worker says of itself; null where it said nothing. */
export interface DeclaredCompatibility {
  protocol_version: number | null;
  version: string | null;
  runtime_version: string | null;
  /** Its own and its pool's. */
  flags: readonly string[];
  checkpoint_schemas: readonly number[];
  event_contracts: readonly number[];
}

/** What of a worker does not fit its pool, each with the heartbeat's field that is about it; empty when all fits. */
export function incompatibility(policy: CompatibilityPolicy | null, declared: DeclaredCompatibility): ProblemItem[] {
  if (policy === null) return [];
  const { min_protocol: min, max_protocol: max } = policy;
  return [
    ...protocolFault(declared.protocol_version, min, max),
    ...versionFault('version', declared.version, policy.min_version),
    ...versionFault('runtime_version', declared.runtime_version, policy.min_runtime_version),
    ...missing('capabilities/flags', policy.flags, declared.flags),
    ...missing('checkpoint_schemas', policy.checkpoint_schemas, declared.checkpoint_schemas),
    ...missing('event_contracts', policy.event_contracts, declared.event_contracts),
  ];
}

/** One sentence for people of what does not fit. */
export const incompatibilitySentence = (faults: readonly ProblemItem[]): string =>
  faults.map(({ pointer, detail }) => `${pointer.slice(1).replace('/', '.')} ${detail}`).join('; ');

function protocolFault(declared: number | null, min?: number, max?: number): ProblemItem[] {
  if (min === undefined && max === undefined) return [];
  const wanted = [min === undefined ? [] : [`at least ${min}`], max === undefined ? [] : [`at most ${max}`]].flat();
  const fits = declared !== null && declared >= (min ?? declared) && declared <= (max ?? declared);
  return fits ? [] : [fault('protocol_version', String(declared ?? 'not declared'), wanted.join(' and '))];
}

function versionFault(field: string, declared: string | null, min: string | undefined): ProblemItem[] {
  if (min === undefined || (declared !== null && isAtLeast(declared, min))) return [];
  return [fault(field, declared ?? 'not declared', `at least ${min}`)];
}

function missing<T>(field: string, wanted: readonly T[] | undefined, declared: readonly T[]): ProblemItem[] {
  const lacks = (wanted ?? []).filter((each) => !declared.includes(each));
  return lacks.length === 0 ? [] : [{ pointer: `/${field}`, detail: `must have ${lacks.join(', ')}` }];
}

const fault = (field: string, is: string, wanted: string): ProblemItem => ({
  pointer: `/${field}`,
  detail: `is ${is} and must be ${wanted}`,
});

const VERSION = /^v?(\d+(?:\.\d+)*)(-[^+]*)?(?:\+.*)?$/;

/** Compares numbers part by part; what comes before a version is less than it. What is no version is at least nothing. */
function isAtLeast(version: string, min: string): boolean {
  const [, own, early] = VERSION.exec(version) ?? [];
  const [, least, leastEarly] = VERSION.exec(min) ?? [];
  if (own === undefined || least === undefined) return false;
  const mine = own.split('.').map(Number);
  const theirs = least.split('.').map(Number);
  for (let part = 0; part < Math.max(mine.length, theirs.length); part += 1) {
    const difference = (mine[part] ?? 0) - (theirs[part] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return early === undefined || (leastEarly !== undefined && early >= leastEarly);
}
