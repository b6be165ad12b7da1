import { Option, type Command } from 'commander';
import { POOL_STATES, type PoolState } from '../../contracts/terminology';
import type { PoolArguments } from '../commands/pools';
import type { DrainArguments } from '../commands/worker-drain';
import type { ReportArguments } from '../report';
import { addCommand, configOf, examples } from './command';
import { withDrain, withReport } from './worker-commands';

const POOL_ID = ['<POOL_ID>', 'id as `pools list` shows it'] as const;

/** `pools …`. */
export function addPoolCommands(program: Command): void {
  const pools = program.command('pools').description('Look at worker pools, make and change them.');
  withReport(addCommand(pools, 'pools list', 'List pools: state, whom they serve, how many workers they have.'))
    .addOption(new Option('--state <STATE>', 'only those in this state').choices(POOL_STATES))
    .addHelpText('after', examples('pools list --watch', 'pools list --json'))
    .action(async (args: ReportArguments & { state?: PoolState }, command: Command) =>
      (await import('../commands/pools.js')).runPoolsList(configOf('pools list', command), args),
    );
  withReport(addCommand(pools, 'pools show', 'Show all of a pool, and its workers.'))
    .argument(...POOL_ID)
    .action(async (id: string, args: ReportArguments, command: Command) =>
      (await import('../commands/pools.js')).runPoolShow(configOf('pools show', command), id, args),
    );
  withTerms(
    addCommand(pools, 'pools create', 'Make a pool. Nothing has to be restarted: workers begin to poll its queue.'),
  )
    .argument('<POOL_ID>', 'lower case letters, digits, "-", "_" or "."; its task queue is pool:<POOL_ID>')
    .option('--mode <MODE>', 'self_hosted or saas_operated; cannot be changed later', 'self_hosted')
    .option('--paused', 'nothing is claimed from it before it is resumed')
    .addHelpText('after', examples('pools create eu --region eu-1 --auto-activate --max-workers 20'))
    .action(async (id: string, args: PoolArguments & { paused?: boolean }, command: Command) =>
      (await import('../commands/pools.js')).runPoolCreate(configOf('pools create', command), id, args),
    );
  withTerms(addCommand(pools, 'pools update', 'Change a pool. What is not named stays.'))
    .argument(...POOL_ID)
    .option('--no-region', 'it is in no region')
    .option('--no-capabilities', 'it adds none to those of its workers')
    .option('--no-compatibility', 'any worker fits')
    .option('--all-tenants', 'it serves all tenants')
    .addHelpText(
      'after',
      examples('pools update eu --max-workers 30', 'pools update eu --no-auto-activate --tenants acme,umbrella'),
    )
    .action(async (id: string, args: PoolArguments, command: Command) =>
      (await import('../commands/pools.js')).runPoolUpdate(configOf('pools update', command), id, args),
    );
  addStates(pools);
}

function addStates(pools: Command): void {
  const states = [
    [
      'pools pause',
      'paused',
      'Let nothing be claimed from a pool, nor anybody be registered in it, until it is resumed.',
    ],
    ['pools resume', 'active', 'Let a paused pool be claimed from again.'],
    ['pools retire', 'retired', 'Close a pool for good. `pools drain --retire` retires its workers.'],
  ] as const;
  for (const [name, status, description] of states) {
    addCommand(pools, name, description)
      .argument(...POOL_ID)
      .option('--json', 'one JSON object on stdout')
      .action(async (id: string, args: { json?: boolean }, command: Command) =>
        (await import('../commands/pools.js')).runPoolState(configOf(name, command), id, status, args),
      );
  }
  withDrain(addCommand(pools, 'pools drain', 'Let all workers of a pool finish what they hold and take nothing new.'))
    .argument(...POOL_ID)
    .addHelpText('after', examples('pools drain eu --wait --reason "new image"'))
    .action(async (id: string, args: DrainArguments, command: Command) =>
      (await import('../commands/worker-drain.js')).runPoolDrain(configOf('pools drain', command), id, args),
    );
}

const withTerms = (command: Command): Command =>
  command
    .option('--name <NAME>', 'what people call it (default of a new one: its id)')
    .option('--region <REGION>', 'where its workers run')
    .option('--capabilities <FILE>', 'JSON file: what all its workers can do (flags, profiles, providers)')
    .option('--compatibility <FILE>', 'JSON file: which workers fit (default of a new one: all)')
    .option('--max-workers <N>', 'workers that are neither retired nor revoked; 0 is any number')
    .option('--max-concurrent-work <N>', 'units that its workers hold at once; 0 is any number')
    .option('--auto-activate', 'a worker is active with its first heartbeat; self_hosted only')
    .option('--no-auto-activate', 'an admin activates each worker')
    .option('--auto-recover', 'an unhealthy worker is active with its next good heartbeat')
    .option('--no-auto-recover', 'an admin activates it again')
    .option('--tenants <LIST>', 'the tenants that it serves, comma separated (default of a new one: all)')
    .option('--json', 'one JSON object on stdout');
