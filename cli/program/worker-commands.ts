import { Option, type Command } from 'commander';
import { WORKER_STATES } from '../../contracts/terminology';
import type { WorkerOrder } from '../../domain/worker-moves';
import type { RegisterArguments, RotateArguments } from '../commands/worker-credentials';
import type { DrainArguments } from '../commands/worker-drain';
import type { WorkersListArguments } from '../commands/workers';
import type { OrderArguments } from '../fleet/worker-order';
import type { ReportArguments } from '../report';
import type { SecretOutput } from '../secret-output';
import { addCommand, configOf, examples } from './command';

const WORKER_ID = ['<WORKER_ID>', 'id as `workers list` shows it'] as const;
const JSON_HELP = 'one JSON object on stdout';

/** `worker enroll` and `workers …`. */
export function addWorkerCommands(program: Command): void {
  const worker = program.commands.find((command) => command.name() === 'worker')!;
  withSecretOutput(
    addCommand(worker, 'worker enroll', 'Enrol a worker in a pool and issue a credential for it.'),
  ).action(async (args: SecretOutput, command: Command) =>
    (await import('../commands/workers.js')).runWorkerEnroll(configOf('worker enroll', command), args),
  );
  const workers = program.command('workers').description('Look at workers, order them, and put them right.');
  addViews(workers);
  addCredentials(workers);
  addOrders(workers);
  addCommand(
    workers,
    'workers clear-suspect',
    'Trust a worker again whose OpenCrow lost a delivery, and give back the slots of cancelled workloads.',
  )
    .argument(...WORKER_ID)
    .requiredOption('--reason <TEXT>', 'why; kept in the audit')
    .action(async (id: string, args: { reason: string }, command: Command) =>
      (await import('../commands/workers.js')).runClearSuspect(
        configOf('workers clear-suspect', command),
        id,
        args.reason,
      ),
    );
}

function addViews(workers: Command): void {
  withReport(addCommand(workers, 'workers list', 'List workers: state and why, open work, last heartbeat, version.'))
    .option('--pool <POOL>', 'only those of this pool')
    .addOption(new Option('--state <STATE>', 'only those in this state').choices(WORKER_STATES))
    .addHelpText('after', examples('workers list --watch', 'workers list --pool eu --state unhealthy --json'))
    .action(async (args: WorkersListArguments, command: Command) =>
      (await import('../commands/workers.js')).runWorkersList(configOf('workers list', command), args),
    );
  withReport(addCommand(workers, 'workers show', 'Show all of a worker: state, what it declares, holds and may do.'))
    .argument(...WORKER_ID)
    .addHelpText('after', examples('workers show host-1', 'workers show host-1 --watch 5s'))
    .action(async (id: string, args: ReportArguments, command: Command) =>
      (await import('../commands/workers.js')).runWorkerShow(configOf('workers show', command), id, args),
    );
}

function addCredentials(workers: Command): void {
  const register = addCommand(
    workers,
    'workers register',
    'Register a worker in a pool that there is, as pending, and issue its first credential. `worker enroll` makes both at once.',
  );
  withSecretOutput(register)
    .argument('<WORKER_ID>', 'lower case letters, digits, "-", "_" or "."')
    .option('--display-name <NAME>', 'what people call it (default: its id)')
    .option('--region <REGION>', 'where it runs')
    .option('--expires <DURATION>', 'life of its credential, for example 30d (default: 90d)')
    .option('--json', JSON_HELP)
    .addHelpText('after', examples('workers register host-2 --pool eu --out /run/keys/host-2'))
    .action(async (id: string, args: RegisterArguments, command: Command) =>
      (await import('../commands/worker-credentials.js')).runWorkerRegister(
        configOf('workers register', command),
        id,
        args,
      ),
    );
  withSecretOutput(
    addCommand(workers, 'workers rotate', 'Replace a worker’s credential; the old one stays good for a while.'),
  )
    .argument(...WORKER_ID)
    .option('--credential <ID>', 'which one, as `workers show` lists them (default: the only live one)')
    .option('--overlap <DURATION>', 'how long the old one stays good, up to 7d; 0s is not at all', '10m')
    .option('--expires <DURATION>', 'life of the new one, for example 30d (default: 90d)')
    .option('--json', JSON_HELP)
    .addHelpText(
      'after',
      examples('workers rotate host-1 --out /run/keys/host-1', 'workers rotate host-1 --overlap 0s --print'),
    )
    .action(async (id: string, args: RotateArguments, command: Command) =>
      (await import('../commands/worker-credentials.js')).runWorkerRotate(
        configOf('workers rotate', command),
        id,
        args,
      ),
    );
}

/** Orders that are one step; `drain` has more options. */
const ORDERS: Record<Exclude<WorkerOrder, 'drain'>, string> = {
  activate: 'Let a pending, unhealthy, paused or draining worker work.',
  pause: 'Let a worker take nothing new and renew nothing, until it is resumed.',
  resume: 'Let a paused, draining or unhealthy worker work again.',
  retire: 'Take a worker out of service for good. Refused while it holds live leases.',
  revoke: 'Shut a worker out at once and for good: its credentials open nothing from the next request on.',
};

function addOrders(workers: Command): void {
  for (const [order, description] of Object.entries(ORDERS) as [Exclude<WorkerOrder, 'drain'>, string][]) {
    const name = `workers ${order}` as const;
    const command = withReason(addCommand(workers, name, description).argument(...WORKER_ID));
    if (order === 'retire') command.option('--force', 'though it holds live leases, which run out by themselves');
    command
      .addHelpText('after', examples(`${name} host-1 --reason "kernel update"`))
      .action(async (id: string, args: OrderArguments & { json?: boolean }, self: Command) =>
        (await import('../commands/worker-orders.js')).runWorkerOrder(configOf(name, self), id, order, args),
      );
  }
  withDrain(addCommand(workers, 'workers drain', 'Let a worker finish what it holds and take nothing new.'))
    .argument(...WORKER_ID)
    .addHelpText('after', examples('workers drain host-1 --wait --retire --reason "host goes away"'))
    .action(async (id: string, args: DrainArguments, command: Command) =>
      (await import('../commands/worker-drain.js')).runWorkerDrain(configOf('workers drain', command), id, args),
    );
}

/** Options of commands that show something, once or again and again. */
export const withReport = (command: Command): Command =>
  command
    .option('--json', `${JSON_HELP}; with --watch one a line`)
    .option('--watch [INTERVAL]', 'again and again until Ctrl-C, in place on a terminal (default interval: 2s)');

const withReason = (command: Command): Command =>
  command.option('--reason <TEXT>', 'why; kept in the audit and shown with the worker').option('--json', JSON_HELP);

/** Options of `drain`, of a worker or a pool. */
export const withDrain = (command: Command): Command =>
  withReason(command)
    .option('--wait', 'until nothing is held; what is left is told on stderr')
    .option('--timeout <DURATION>', 'how long to wait at most; it fails then, and the order stands', '10m')
    .option('--retire', 'then retire; waits too');

const withSecretOutput = (command: Command): Command =>
  command
    .option('--out <FILE>', 'write the credential to this file (mode 0600)')
    .option('--print', 'print the credential on stdout');
