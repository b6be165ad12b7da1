import type { Command } from 'commander';
import type { QuotaListArguments, QuotaSetArguments } from '../commands/quotas';
import { addCommand, configOf, examples } from './command';
import { withReport } from './worker-commands';

/** `quotas …`. */
export function addQuotaCommands(program: Command): void {
  const quotas = program.command('quotas').description('Limit what tenants and pools may use, and see what they use.');
  withReport(addCommand(quotas, 'quotas list', 'List the limits that are set, with their use.'))
    .option('--tenant <TENANT>', 'only those of this tenant')
    .option('--pool <POOL>', 'only those of this pool')
    .action(async (args: QuotaListArguments, command: Command) =>
      (await import('../commands/quotas.js')).runQuotasList(configOf('quotas list', command), args),
    );
  addCommand(quotas, 'quotas set', 'Set limits of a tenant or a pool; those not named stay as they are.')
    .option('--tenant <TENANT>', 'of this tenant')
    .option('--pool <POOL>', 'of this pool')
    .option('--limit <QUOTA=N...>', 'for example queued_work=1000; `none` takes a limit away')
    .option('--entitlement <ENTITLEMENT>', 'of a tenant: active, or lapsed: nothing new is begun')
    .requiredOption('--reason <TEXT>', 'why; kept in the audit')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      examples(
        'quotas set --tenant acme --limit queued_work=1000 events_per_minute=600 --reason "as agreed"',
        'quotas set --pool default --limit queue_age=none --reason "no longer needed"',
      ),
    )
    .action(async (args: QuotaSetArguments, command: Command) =>
      (await import('../commands/quotas.js')).runQuotasSet(configOf('quotas set', command), args),
    );
}
