import { z } from 'zod';
import type { DeadlineTable } from './deadlines';
import { duration, formatDuration } from './duration';
import { expression, objectOr, policyText as text } from './policy-text';
import { RUN_COMPLETIONS, RUN_LIMITS, type RunSpec } from './run';
import { argvFault, digestFault, endpointFault, folderFault, imageFault, jobIdFault } from './run-faults';
import { isCommandExecutor, type ExecutorKind } from './terminology';

/** A rule's `run` block: the command of a rule whose executor runs one. See `docs/policy.md`. */

/** A value that is computed from the event: CEL, in a rule `{ cel: '…' }`. */
export interface CelSource {
  cel: string;
}

const cel: z.ZodType<CelSource> = z.strictObject({ cel: expression });
const without = (fault: (value: string) => string | null) => (value: string, context: z.RefinementCtx) => {
  const message = fault(value);
  if (message !== null) context.addIssue({ code: 'custom', message });
};
const LITERAL = 'must be text: an event has no say in it, so { cel } is not allowed';
/** A literal, or a CEL expression in `{ cel: '…' }`. */
const computed = (literal: z.ZodType<string>) => objectOr(cel, literal);

const argument = z
  .string('must be text in quotes, or { cel: "…" }')
  .max(RUN_LIMITS.argvChars, `must be at most ${RUN_LIMITS.argvChars} characters`)
  .refine((value) => !/[\0\p{Cs}]/u.test(value), 'must not hold NUL or lone surrogates');
const args = z
  .array(computed(argument), 'must be a list of arguments, or { cel: "…" } for all of them')
  .max(RUN_LIMITS.args, `must be at most ${RUN_LIMITS.args} arguments`);
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be the name of an environment variable');

export const runBlock = z.strictObject({
  /** The program. Nothing passes through a shell. */
  command: computed(text(RUN_LIMITS.pathChars)),
  /** Its arguments: a list whose items are text or CEL strings, one argument each, or one CEL list of strings. Default none. */
  args: objectOr(cel, args).default([]),
  /** Folder below the worker's workspace. Default `.`, the workspace itself. */
  cwd: computed(text(RUN_LIMITS.pathChars).superRefine(without(folderFault))).default('.'),
  /** Id of a sandbox profile. Default `default`. */
  sandbox: z
    .string(LITERAL)
    .max(128)
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.:-]*$/, 'must be the id of a sandbox profile')
    .default('default'),
  /** Time the command is given, `1s`–`7d`. Default: the backend's. */
  timeout: duration('1s', '7d').optional(),
  /** Container only, and required there. */
  image: computed(text(RUN_LIMITS.imageChars).superRefine(without(imageFault))).optional(),
  /** Container only. Default: whatever the image's name stands for when it is run. */
  digest: computed(text(RUN_LIMITS.imageChars).superRefine(without(digestFault))).optional(),
  /** URL of the runner; remote and ci only, and required there. */
  endpoint: z
    .string(LITERAL)
    .max(RUN_LIMITS.endpointChars, `must be at most ${RUN_LIMITS.endpointChars} characters`)
    .superRefine(without(endpointFault))
    .optional(),
  /** Id that the runner is to give the job; remote and ci only. Default: the runner chooses. */
  job_id: computed(text(RUN_LIMITS.jobIdChars).superRefine(without(jobIdFault))).optional(),
  /** Names of variables that it gets, each exposed by the sandbox profile; at most 64. Default: all that the profile exposes. */
  env: z
    .array(variable, 'must be a list of names: an event has no say in it')
    .max(64)
    .refine((names) => new Set(names).size === names.length, 'must not repeat an entry')
    .optional(),
  /** It may run twice: run again when nobody knows what became of it. Default false. */
  rerunnable: z.boolean('must be true or false').default(false),
  /** How the end of a runner's job is noticed; remote and ci only. Default `poll`. */
  completion: z.enum(RUN_COMPLETIONS, `must be ${RUN_COMPLETIONS.join(' or ')}`).optional(),
});
export type RunBlock = z.output<typeof runBlock>;

/** A rule's `run` block with nothing left open, its expressions as they are written. */
export type RunTemplate = Omit<RunSpec, 'command' | 'args' | 'cwd' | 'image' | 'digest' | 'job_id'> & {
  command: string | CelSource;
  args: (string | CelSource)[] | CelSource;
  cwd: string | CelSource;
  image: string | CelSource | null;
  digest: string | CelSource | null;
  job_id: string | CelSource | null;
};

/** Fills in the defaults. */
export const runTemplate = (run: RunBlock): RunTemplate => ({
  command: run.command,
  args: run.args,
  cwd: run.cwd,
  sandbox: run.sandbox,
  timeout: run.timeout ?? null,
  image: run.image ?? null,
  digest: run.digest ?? null,
  endpoint: run.endpoint ?? null,
  job_id: run.job_id ?? null,
  env: run.env ?? null,
  rerunnable: run.rerunnable,
  completion: run.completion ?? 'poll',
});

interface RunRule {
  to: { executor: ExecutorKind };
  run?: RunBlock | undefined;
  trigger?: unknown;
  deadlines: DeadlineTable;
}

type Contradiction = { path: (string | number)[]; message: string };

/** What of a rule's command does not go with its executor, its deadlines or itself: path and complaint. */
export function runContradictions({ to: { executor }, run, trigger, deadlines }: RunRule): Contradiction[] {
  if (!isCommandExecutor(executor)) {
    return run
      ? [{ path: ['run'], message: `is only for executors that run a command; ${executor} takes a trigger` }]
      : [];
  }
  const found: Contradiction[] = [];
  if (trigger !== undefined) {
    const message = `has no effect with executor ${executor}, which runs a command: say run`;
    found.push({ path: ['trigger'], message });
  }
  if (!run) return [...found, { path: ['run'], message: `is required with executor ${executor}` }];
  return [...found, ...targetContradictions(executor, run), ...argvProblems(run), ...timeProblems(run, deadlines)];
}

/** Fields that point a command at a target: who takes them, and who must have them. */
const TARGETS = {
  image: { for: ['container'], required: true },
  digest: { for: ['container'], required: false },
  endpoint: { for: ['remote', 'ci'], required: true },
  job_id: { for: ['remote', 'ci'], required: false },
  completion: { for: ['remote', 'ci'], required: false },
} as const satisfies Partial<Record<keyof RunBlock, { for: readonly ExecutorKind[]; required: boolean }>>;

function targetContradictions(executor: ExecutorKind, run: RunBlock): Contradiction[] {
  const found: Contradiction[] = [];
  for (const field of Object.keys(TARGETS) as (keyof typeof TARGETS)[]) {
    const takers: readonly ExecutorKind[] = TARGETS[field].for;
    const given = run[field] !== undefined;
    const taken = takers.includes(executor);
    if (given && !taken) found.push({ path: ['run', field], message: `is only for executor ${takers.join(' or ')}` });
    if (!given && taken && TARGETS[field].required) {
      found.push({ path: ['run', field], message: `is required with executor ${executor}` });
    }
  }
  if (executor === 'container' && typeof run.cwd === 'string' && run.cwd.includes(':')) {
    found.push({
      path: ['run', 'cwd'],
      message: 'must not hold a colon: such a folder cannot be mounted into a container',
    });
  }
  return found;
}

/** Of the literals alone; with the values of an event it is judged again. */
function argvProblems({ command, args: given }: RunBlock): Contradiction[] {
  const argv = [command, ...(Array.isArray(given) ? given : [])].filter((value) => typeof value === 'string');
  const message = argvFault(argv);
  return message === null ? [] : [{ path: ['run', 'args'], message }];
}

function timeProblems({ timeout = 0 }: RunBlock, deadlines: DeadlineTable): Contradiction[] {
  return (['run', 'total'] as const)
    .filter((name) => timeout >= deadlines[name])
    .map((name) => {
      const end = `the ${name} deadline (${formatDuration(deadlines[name])})`;
      const message = `is not shorter than ${end}, which would end the work first: raise deadlines.${name}`;
      return { path: ['run', 'timeout'], message };
    });
}
