import type { Command } from 'commander';
import { loadConfig, type ConfigOf } from '../config';
import { COMMAND_OPTIONS, type CommandName } from '../config/command-options';
import { flagOf, variableOf, type Option, type SecretOption } from '../config/option';
import { OPTIONS, type OptionName } from '../config/options';

/** Declares a command with the options it shares with others; `name` is its whole path. */
export function addCommand(parent: Command, name: CommandName, description: string): Command {
  const command = parent.command(name.split(' ').at(-1)!).description(description);
  for (const option of COMMAND_OPTIONS[name] as readonly OptionName[]) addOption(command, option, OPTIONS[option]);
  return command;
}

function addOption(command: Command, name: OptionName, option: Option<unknown> | SecretOption): void {
  const variables = option.kind === 'secret' ? [variableOf(name), ...option.aliases] : [variableOf(name)];
  const flag = option.kind === 'secret' ? `--${flagOf(name)}-file` : `--${flagOf(name)}`;
  const fallback = option.kind === 'value' && option.default !== null ? option.default : option.derived;
  const facts = [
    `variable: ${variables.join(' or ')}`,
    ...(fallback === undefined ? [] : [`default: ${fallback.replaceAll('`', '')}`]),
  ];
  command.option(
    option.placeholder === null ? flag : `${flag} <${option.placeholder}>`,
    `${option.doc.replaceAll('`', '')} (${facts.join('; ')})`,
  );
}

type Flags = Record<string, string | boolean | undefined>;

/** The checked options of a command. Its parent's flags too: `worker` takes those it shares with `worker enroll` wherever they stand. */
export const configOf = <Name extends CommandName>(name: Name, command: Command): ConfigOf<Name> =>
  loadConfig(name, { flags: { ...command.parent?.opts<Flags>(), ...command.opts<Flags>() }, env: process.env });

/** The end of a command's help. */
export const examples = (...lines: readonly string[]): string =>
  `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map((line) => `  workloadd ${line}`).join('\n')}`;
