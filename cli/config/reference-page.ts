import { COMMAND_OPTIONS, REQUIRED_OPTIONS, type CommandName } from './command-options';
import { flagOf, variableOf, type Option, type SecretOption } from './option';
import { OPTIONS } from './options';

const HEAD = `# Configuration

Generated from the option schema by \`npm run docs:config\`; do not edit.

Values come from flags, then from environment variables, then from the defaults. An empty variable counts as not set. A bad
value is refused at start, naming the option and its rule (exit code 2). Durations are written as \`30s\`, \`15m\`, \`24h\`,
\`7d\` or \`1h30m\`. Secrets are no flags, since other users of a machine can read those: they come from a variable or from a
file.

The connection to Temporal is configured as in every Temporal SDK and its CLI: \`TEMPORAL_ADDRESS\`, \`TEMPORAL_NAMESPACE\`,
\`TEMPORAL_API_KEY\`, \`TEMPORAL_TLS*\`, or a profile in a file (\`TEMPORAL_PROFILE\`, \`TEMPORAL_CONFIG_FILE\`). Without any, \`api\`,
\`control\`, \`worker\` and \`temporal setup\` use \`127.0.0.1:7233\`, and \`up\` starts a dev server of its own. The default profile
of a file that is merely there is not used by \`up\`.

Two more variables concern the embedded Postgres and Temporal's CLI: \`WORKLOADD_POSTGRES_USER\` names the account that the
embedded Postgres runs as when \`up\` is started by root, and \`XDG_CACHE_HOME\` moves the folder for downloaded programs.

`;

/** The page docs/configuration.md. */
export function referencePage(): string {
  return (
    HEAD +
    Object.entries<Option<unknown> | SecretOption>(OPTIONS)
      .map(([name, option]) => section(name, option))
      .join('\n')
  );
}

function section(name: string, option: Option<unknown> | SecretOption): string {
  const facts = option.kind === 'secret' ? secretFacts(name, option) : valueFacts(name, option);
  const users = Object.entries(COMMAND_OPTIONS)
    .filter(([, names]) => (names as readonly string[]).includes(name))
    .map(([command]) => `\`${command}\`${isRequired(command as CommandName, name) ? ' (required)' : ''}`);
  return [`## ${flagOf(name)}`, '', option.doc, '', ...facts, `- used by: ${users.join(', ')}`, ''].join('\n');
}

const isRequired = (command: CommandName, name: string): boolean =>
  ((REQUIRED_OPTIONS as Partial<Record<CommandName, readonly string[]>>)[command] ?? []).includes(name);

function valueFacts(name: string, option: Option<unknown>): string[] {
  const flag = option.placeholder === null ? `--${flagOf(name)}` : `--${flagOf(name)} ${option.placeholder}`;
  return [
    `- flag: \`${flag}\``,
    `- variable: \`${variableOf(name)}\``,
    `- default: ${option.default === null ? (option.derived ?? 'none') : `\`${option.default}\``}`,
  ];
}

function secretFacts(name: string, option: SecretOption): string[] {
  const variables = [variableOf(name), ...option.aliases];
  return [
    `- flag: \`--${flagOf(name)}-file FILE\``,
    `- variables: ${variables.flatMap((variable) => [`\`${variable}_FILE\``, `\`${variable}\``]).join(', ')}`,
    `- default: ${option.derived ?? 'none'}`,
  ];
}
