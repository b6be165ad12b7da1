import { Secret } from '../contracts/secret';
import { COMMAND_OPTIONS, REQUIRED_OPTIONS, type CommandName } from './config/command-options';
import {
  flagOf,
  readSecretFile,
  secretFile,
  variableOf,
  type Option,
  type SecretOption,
  type SecretSource,
} from './config/option';
import { OPTIONS, type OptionName, type OptionValue } from './config/options';

type RequiredOf<Command extends CommandName> = Command extends keyof typeof REQUIRED_OPTIONS
  ? (typeof REQUIRED_OPTIONS)[Command][number]
  : never;

/** The checked options of a command. */
export type ConfigOf<Command extends CommandName> = {
  [Name in (typeof COMMAND_OPTIONS)[Command][number]]: Name extends RequiredOf<Command>
    ? NonNullable<OptionValue<Name>>
    : OptionValue<Name>;
};

/** Options that are missing or break their rule; one sentence each, none with a secret in it. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
  }
}

/** Where values come from: flags go before variables, variables before defaults. */
export interface ConfigSources {
  /** By option name (`dataDir`), a secret's file as `<name>File`. */
  flags: Readonly<Record<string, string | boolean | undefined>>;
  env: NodeJS.ProcessEnv;
}

/** Reads and checks the options of a command. Throws {@link ConfigError} with all that is wrong. */
export function loadConfig<Command extends CommandName>(command: Command, sources: ConfigSources): ConfigOf<Command> {
  const problems: string[] = [];
  const required: readonly OptionName[] =
    (REQUIRED_OPTIONS as Partial<Record<CommandName, readonly OptionName[]>>)[command] ?? [];
  const config: Record<string, unknown> = {};
  for (const name of COMMAND_OPTIONS[command] as readonly OptionName[]) {
    const option: Option<unknown> | SecretOption = OPTIONS[name];
    const value =
      option.kind === 'secret'
        ? loadSecret(name, option, sources, problems)
        : loadValue(name, option, sources, problems);
    if (value === undefined && required.includes(name)) problems.push(missing(name, option));
    config[name] = value === INVALID ? undefined : value;
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config as ConfigOf<Command>;
}

/** Stands for a value whose problem has been noted. */
const INVALID = Symbol('invalid');

function loadValue(
  name: OptionName,
  option: Option<unknown>,
  { flags, env }: ConfigSources,
  problems: string[],
): unknown {
  const [text, from] = [flags[name], `--${flagOf(name)}`];
  const given =
    text === undefined ? { text: env[variableOf(name)], from: variableOf(name) } : { text: String(text), from };
  if (given.text === undefined || given.text === '') {
    return option.default === null ? undefined : option.schema.parse(option.default);
  }
  const parsed = option.schema.safeParse(given.text);
  if (parsed.success) return parsed.data;
  problems.push(`${given.from} ${parsed.error.issues[0]!.message} (got ${JSON.stringify(given.text.slice(0, 100))})`);
  return INVALID;
}

function loadSecret(
  name: OptionName,
  option: SecretOption,
  sources: ConfigSources,
  problems: string[],
): SecretSource | undefined | typeof INVALID {
  const given = secretPlaces(name, option, sources).find(({ value }) => value !== undefined && value !== '');
  if (given?.value === undefined) return undefined;
  try {
    const text = given.isFile ? readSecretFile(given.value) : given.value;
    const parsed = option.schema.safeParse(text);
    if (parsed.success) return given.isFile ? secretFile(given.value, text) : () => new Secret(text);
    problems.push(`${given.from} ${parsed.error.issues[0]!.message}`);
  } catch (error) {
    problems.push(
      `${given.from} names a file that cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    );
  }
  return INVALID;
}

/** Where a secret may come from, in the order of their rank. */
function secretPlaces(
  name: OptionName,
  option: SecretOption,
  { flags, env }: ConfigSources,
): { from: string; value: string | undefined; isFile: boolean }[] {
  const file = flags[`${name}File`];
  return [
    { from: `--${flagOf(name)}-file`, value: typeof file === 'string' ? file : undefined, isFile: true },
    ...[variableOf(name), ...option.aliases].flatMap((variable) => [
      { from: `${variable}_FILE`, value: env[`${variable}_FILE`], isFile: true },
      { from: variable, value: env[variable], isFile: false },
    ]),
  ];
}

function missing(name: OptionName, option: Option<unknown> | SecretOption): string {
  if (option.kind !== 'secret') return `--${flagOf(name)} is required (or ${variableOf(name)}): ${option.doc}`;
  const variables = [variableOf(name), ...option.aliases].join(' or ');
  return `${flagOf(name)} is required: set ${variables}, or name its file by --${flagOf(name)}-file or ${variableOf(name)}_FILE`;
}

/** Files that the environment names for secrets. */
export function secretFiles(env: NodeJS.ProcessEnv): string[] {
  return Object.entries<Option<unknown> | SecretOption>(OPTIONS)
    .flatMap(([name, option]) => (option.kind === 'secret' ? [variableOf(name), ...option.aliases] : []))
    .map((variable) => env[`${variable}_FILE`])
    .filter((file): file is string => file !== undefined && file !== '');
}

/** Variables of the service that no option reads, so probably misspelt. */
export function unknownVariables(env: NodeJS.ProcessEnv): string[] {
  const known = new Set(
    Object.entries<Option<unknown> | SecretOption>(OPTIONS).flatMap(([name, option]) =>
      option.kind === 'secret' ? [variableOf(name), `${variableOf(name)}_FILE`] : [variableOf(name)],
    ),
  );
  return Object.keys(env).filter(
    (name) => name.startsWith('WORKLOADD_') && !known.has(name) && !OTHER_VARIABLE.test(name),
  );
}

/** Variables that are no options: of the embedded server and of the tests. */
const OTHER_VARIABLE = /^WORKLOADD_(POSTGRES_USER$|DEBUG_|TEST_)/;

/** What is wrong with arguments that carry a secret, which other users of the machine could see; null when none does. */
export function secretInArguments(args: readonly string[]): string | null {
  for (const [name, option] of Object.entries<Option<unknown> | SecretOption>(OPTIONS)) {
    const flag = `--${flagOf(name)}`;
    if (option.kind === 'secret' && args.some((arg) => arg === flag || arg.startsWith(`${flag}=`))) {
      return `${flag} is not taken from the command line, where others can see it: set ${variableOf(name)}, or name its file by ${flag}-file`;
    }
  }
  return null;
}
