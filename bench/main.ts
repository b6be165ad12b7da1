import { Command } from 'commander';
import { compareAccept } from './accept';
import { compareAuthorize } from './authorize';
import { startBench } from './bench-system';
import { compareExec } from './exec';
import { measureFleet } from './fleet';
import { comparePlane } from './plane';
import { benchVerify } from './verify';
import { compareWholeWorkloads } from './whole-workloads';

interface Flags {
  rounds: string;
  size: string;
  inFlight: string;
  inMemory?: boolean;
  json?: boolean;
}

const log = (text: string): void => void process.stderr.write(`${text}\n`);

async function authorize(flags: Pick<Flags, 'rounds' | 'json'>): Promise<void> {
  const result = await compareAuthorize(Number(flags.rounds), log);
  process.stdout.write(`${flags.json ? JSON.stringify(result) : result.report}\n`);
}

async function main(flags: Flags): Promise<void> {
  const settings = { rounds: Number(flags.rounds), size: Number(flags.size), inFlight: Number(flags.inFlight) };
  const system = await startBench({ inMemory: flags.inMemory ?? false, log });
  try {
    const whole = await compareWholeWorkloads(system, settings, log);
    const accept = await compareAccept(system, log);
    if (flags.json) process.stdout.write(`${JSON.stringify({ settings, whole, accept })}\n`);
    else process.stdout.write(`${whole.report}\n\n${accept.report}\n`);
  } finally {
    await system.stop();
  }
}

const authorizeCommand = new Command('authorize')
  .description(
    'A capability authorized beside a bare UPDATE … RETURNING on the same Postgres, interleaved. Needs no Temporal.',
  )
  .option('--rounds <n>', 'interleaved rounds of 200 each', '5')
  .option('--json', 'one JSON object on standard output')
  .action(authorize);

const execCommand = new Command('exec')
  .description(
    'What running a command costs: the node backend beside a bare spawn; a whole workload beside a bare Temporal activity that spawns, ' +
      'interleaved, with history events and database round trips counted; peak memory beside a bare pipe for 1, 8 and 31 MiB of output.',
  )
  .option('--rounds <n>', 'interleaved rounds of each', '5')
  .option('--in-memory', 'a Temporal server that keeps nothing on disk')
  .option('--json', 'one JSON object on standard output')
  .action(async (flags: Pick<Flags, 'rounds' | 'inMemory' | 'json'>) => {
    const settings = { rounds: Number(flags.rounds), inMemory: flags.inMemory ?? false };
    const result = await compareExec(settings, log);
    process.stdout.write(`${flags.json ? JSON.stringify(result) : result.report}\n`);
  });

const planeCommand = new Command('plane')
  .description(
    'A claim, a renewal and a fenced write beside their own statements sent bare, on the same Postgres, interleaved, by ten workers ' +
      'at once. Needs no Temporal.',
  )
  .option('--rounds <n>', 'interleaved rounds of 100 each', '3')
  .option('--json', 'one JSON object on standard output')
  .action(async (flags: Pick<Flags, 'rounds' | 'json'>) => {
    const result = await comparePlane(Number(flags.rounds), log);
    process.stdout.write(`${flags.json ? JSON.stringify(result) : result.report}\n`);
  });

const fleetCommand = new Command('fleet')
  .description(
    '500 workers that send a heartbeat every 15 s, and 50 claims a second, through an api process beside the same statements sent bare: ' +
      'processor seconds for 1,000 of each. Needs Linux, and no Temporal.',
  )
  .option('--json', 'one JSON object on standard output')
  .action(async (flags: Pick<Flags, 'json'>) => {
    const result = await measureFleet(log);
    process.stdout.write(`${flags.json ? JSON.stringify(result) : result.report}\n`);
  });

const verifyCommand = new Command('verify')
  .description('Sealing, verifying and listing an audit, on a Postgres of its own.')
  .option('--rows <n>', 'rows of the audit', '200000')
  .action(async (flags: { rows: string }) => {
    process.stdout.write(`${await benchVerify(Number(flags.rows), log)}\n`);
  });

new Command('bench')
  .enablePositionalOptions()
  .description(
    'Whole workloads (accept, policy, delivery to a simulated OpenCrow, lifecycle, settlement) beside a bare Temporal workflow ' +
      '(one activity, two signals, no ledger) on the same server in the same run, interleaved. Ratios count; times are of this machine.',
  )
  .option('--rounds <n>', 'interleaved rounds of each', '5')
  .option('--size <n>', 'workloads a round', '60')
  .option('--in-flight <n>', 'workloads at once in the throughput rounds', '20')
  .option(
    '--in-memory',
    'a Temporal server that keeps nothing on disk: shows processor time, not what a user would get',
  )
  .option('--json', 'one JSON object on standard output')
  .action(main)
  .addCommand(authorizeCommand)
  .addCommand(execCommand)
  .addCommand(verifyCommand)
  .addCommand(planeCommand)
  .addCommand(fleetCommand)
  .parseAsync()
  .catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
