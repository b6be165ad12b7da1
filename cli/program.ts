import { Command } from 'commander';
import type { ArchiveArguments } from './commands/audit';
import type { ProbeArguments } from './commands/backend';
import type { ExecArguments } from './commands/exec';
import type { DoctorArguments } from './commands/doctor';
import type { PolicyDiffArguments } from './commands/policy-diff';
import type { ReplayArguments } from './commands/replay';
import type { TokenArguments, TokenImportArguments } from './commands/token';
import type { VerifyArguments } from './commands/verify';
import { EXIT_CODE_HELP } from './exit-codes';
import { addCommand, configOf } from './program/command';
import { addPoolCommands } from './program/pool-commands';
import { addQuotaCommands } from './program/quota-commands';
import { addWorkerCommands } from './program/worker-commands';
import { TOKEN_SCOPES } from '../contracts/terminology';

const FOOTER = `
Options can also be set by the variables named with them; docs/configuration.md has all of them. Temporal is configured by
TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the other variables of its SDKs.

${EXIT_CODE_HELP}`;

/** The command line of `workloadd`. Each command loads its code when it runs. */
export function buildProgram(version: string): Command {
  const program = new Command('workloadd')
    .description('Turns source events into policy-checked agent workloads and follows each to its end.')
    .version(version)
    .showHelpAfterError('(see --help)')
    .addHelpText('after', FOOTER)
    .exitOverride();
  addProcesses(program);
  addTokenCommands(program);
  addWorkerCommands(program);
  addPoolCommands(program);
  addQuotaCommands(program);
  addExecution(program);
  addWorkloadCommands(program);
  addChecks(program);
  addAuditCommands(program);
  return program;
}

function addProcesses(program: Command): void {
  addCommand(
    program,
    'up',
    'Run everything in one process, with Postgres and Temporal of its own where none is configured.',
  ).action(async (_, command: Command) => (await import('./commands/up.js')).runUp(configOf('up', command)));
  addCommand(program, 'api', 'Run the HTTP API and the relay to Temporal. Any number may run.').action(
    async (_, command: Command) => (await import('./commands/serve.js')).runApi(configOf('api', command)),
  );
  addCommand(
    program,
    'control',
    'Run the workflow worker, which decides and drives workloads. Any number may run.',
  ).action(async (_, command: Command) =>
    (await import('./commands/serve.js')).runControl(configOf('control', command)),
  );
  addCommand(program, 'worker', 'Run a pool worker beside its OpenCrow. It needs no database.').action(
    async (_, command: Command) => (await import('./commands/worker.js')).runWorker(configOf('worker', command)),
  );
  addCommand(program, 'migrate', 'Bring the ledger’s schema up to date. It may be run again at any time.').action(
    async (_, command: Command) => (await import('./commands/migrate.js')).runMigrate(configOf('migrate', command)),
  );
}

function addTokenCommands(program: Command): void {
  const token = program.command('token').description('Make, list and revoke API tokens.');
  addCommand(token, 'token create', 'Make an API token. It is shown this once.')
    .requiredOption('--name <NAME>', 'what people call it')
    .requiredOption('--scopes <SCOPES>', `comma separated: ${TOKEN_SCOPES.join(', ')}`)
    .option('--tenant <TENANT>', 'tenant it belongs to; made if there is none', 'default')
    .option('--expires <DURATION>', 'life of the token, for example 90d (default: it never expires)')
    .option('--out <FILE>', 'write it to this file (mode 0600)')
    .option('--print', 'print it on stdout')
    .action(async (args: TokenArguments, command: Command) =>
      (await import('./commands/token.js')).runTokenCreate(configOf('token create', command), args),
    );
  addCommand(token, 'token import', 'Take a token that was made elsewhere, such as the one n8n has. Its hash is kept.')
    .requiredOption('--name <NAME>', 'what people call it; another imported token of this name is revoked')
    .requiredOption('--scopes <SCOPES>', `comma separated: ${TOKEN_SCOPES.join(', ')}`)
    .requiredOption('--file <FILE>', 'file that holds it, at least 32 characters')
    .option('--tenant <TENANT>', 'tenant it belongs to; made if there is none', 'default')
    .action(async (args: TokenImportArguments, command: Command) =>
      (await import('./commands/token.js')).runTokenImport(configOf('token import', command), args),
    );
  addCommand(token, 'token list', 'List API tokens, without their secrets.')
    .option('--tenant <TENANT>', 'only those of this tenant')
    .action(async (args: { tenant?: string }, command: Command) =>
      (await import('./commands/token.js')).runTokenList(configOf('token list', command), args),
    );
  addCommand(token, 'token revoke', 'Revoke an API token from the next request on.')
    .argument('<TOKEN_ID>', 'id as `token list` shows it')
    .action(async (id: string, _, command: Command) =>
      (await import('./commands/token.js')).runTokenRevoke(configOf('token revoke', command), id),
    );
}

function addExecution(program: Command): void {
  addCommand(
    program,
    'exec',
    'Run one command here on an execution backend, with no service, or through a running one; print its envelope.',
  )
    .argument('[ARGV...]', 'the command and its arguments, after --')
    .option('--via <URL>', 'a running service: its policy decides whether and how a worker runs it; needs an API token')
    .option('--cwd <DIR>', 'with --via: folder below the worker’s workspace (default: the workspace)')
    .option('--backend <ID>', 'node, container, remote or ci', 'node')
    .option('--sandbox <PROFILE>', 'default, readonly, workspace-write, locked-down, or a JSON file below this folder')
    .option('--image <IMAGE>', 'container: image to run it in')
    .option('--digest <DIGEST>', 'container: digest the image must have (sha256:…)')
    .option('--endpoint <URL>', 'remote, ci: where the runner takes jobs')
    .option('--job <ID>', 'remote, ci: job id to ask the runner for')
    .option(
      '--timeout-ms <N>',
      'end it after this time (default: 10 minutes; remote and ci: 2); with --via also if it does not run by then',
    )
    .option('--label <TEXT>', 'what the summary calls it (default: the command)')
    .option('--json', 'print the envelope as one JSON object')
    .addHelpText(
      'after',
      '\nWith --via the rule that takes it says how it is run: what you ask for is there for the rule to compare. Ctrl-C cancels it,' +
        '\na second one leaves.' +
        '\n\nExit codes of exec: 0 completed, 1 failed, 2 wrong options, 3 refused: not run, or nobody knows.',
    )
    .action(async (argv: string[], args: ExecArguments, command: Command) => {
      const config = configOf('exec', command);
      const { via } = args;
      if (via === undefined) return (await import('./commands/exec.js')).runExec(config, args, argv);
      return (await import('./commands/exec-via.js')).runExecVia(config, { ...args, via }, argv);
    });
  const backend = program.command('backend').description('Look at the execution backends.');
  addCommand(
    backend,
    'backend list',
    'List the backends and what each holds of a sandbox. Nobody is asked: `backend probe` tells which are ready.',
  )
    .option('--json', 'as JSON')
    .action(async (args: { json?: boolean }, command: Command) =>
      (await import('./commands/backend.js')).runBackendList(configOf('backend list', command), args),
    );
  addCommand(
    backend,
    'backend probe',
    'Ask each backend whether it could run something here and now, and why not. Nothing is run, no runner is called.',
  )
    .argument('[BACKEND]', 'this one only; fails when it is not ready')
    .option('--sandbox <PROFILE>', 'whether it can hold this profile')
    .option('--image <IMAGE>', 'container: whether this image may be used')
    .option('--digest <DIGEST>', 'container: with this digest')
    .option('--endpoint <URL>', 'remote, ci: whether this runner may be used')
    .option('--json', 'as JSON')
    .action(async (id: string | undefined, args: ProbeArguments, command: Command) =>
      (await import('./commands/backend.js')).runBackendProbe(configOf('backend probe', command), id, args),
    );
}

function addWorkloadCommands(program: Command): void {
  withService(addCommand(program, 'explain', 'Say why a workload was decided as it was, and what became of it.'))
    .argument('<WORKLOAD_ID>', 'id of the workload (wl_…)')
    .action(async (id: string, args: { tenant?: string; json?: boolean }, command: Command) =>
      (await import('./commands/explain.js')).runExplain(configOf('explain', command), id, args),
    );
  withService(addCommand(program, 'replay', 'Post the event of an ended workload again.'))
    .argument('<WORKLOAD_ID>', 'id of the workload (wl_…)')
    .requiredOption('--reason <TEXT>', 'why; kept in the audit')
    .option('--bypass-dedupe', 'go on though another workload holds its dedupe key')
    .action(async (id: string, args: ReplayArguments, command: Command) =>
      (await import('./commands/replay.js')).runReplay(configOf('replay', command), id, args),
    );
}

/** Arguments of commands that ask the api or the ledger. */
const withService = (command: Command): Command =>
  command
    .option('--tenant <TENANT>', 'whose, without an API token (default: default)')
    .option('--json', 'print the whole answer as JSON');

function addChecks(program: Command): void {
  const policy = program.command('policy').description('Work with policy files.');
  addCommand(policy, 'policy check', 'Check a policy file and print what is wrong with it, by line.')
    .argument('<FILE>', 'a policy (YAML)')
    .action(async (file: string) => (await import('./commands/policy.js')).runPolicyCheck(file));
  const audit = program.command('audit').description('Heads and archives of the audit’s hash chains; let auditors in.');
  addCommand(audit, 'audit grant-reader', 'Let a role of the database read the views audit_*, and nothing else.')
    .argument('<ROLE>', 'role of the database server; made if there is none')
    .action(async (role: string, _: object, command: Command) =>
      (await import('./commands/audit-reader.js')).runGrantReader(configOf('audit grant-reader', command), role),
    );
  withService(
    addCommand(policy, 'policy diff', 'Try a policy on recorded events, and list the decisions that it would change.'),
  )
    .requiredOption('--candidate <FILE>', 'the policy to try (YAML)')
    .option('--last <N>', 'how many of the newest events, at most 10000', '1000')
    .option('--max-changes <N>', 'how many changes are listed, at most 1000; all are counted', '200')
    .option('--fail-on-change', 'exit with 1 when a decision would change, or not all could be looked at in time')
    .action(async (args: PolicyDiffArguments, command: Command) =>
      (await import('./commands/policy-diff.js')).runPolicyDiff(configOf('policy diff', command), args),
    );
  const temporal = program.command('temporal').description('Prepare a Temporal server.');
  addCommand(temporal, 'temporal setup', 'Register the search attributes. It may be run again at any time.').action(
    async () => (await import('./commands/temporal.js')).runTemporalSetup(),
  );
  addCommand(
    program,
    'doctor',
    'Check variables, ledger, Temporal, api, offered backends and what the agent’s user could read, and say what is wrong.',
  )
    .option('--private <FILES...>', 'further files that the agent’s user must not get at, such as those of tokens')
    .action(async (args: DoctorArguments, command: Command) =>
      (await import('./commands/doctor.js')).runDoctor(configOf('doctor', command), args),
    );
}

function addAuditCommands(program: Command): void {
  addCommand(
    program,
    'verify',
    'Check the audit’s hash chains, and what ledger, lifecycle and Temporal say of each other.',
  )
    .argument('[FILES...]', 'exported or archived files (or folders of them) to check instead, without the ledger')
    .option(
      '--anchor <CHAIN:POSITION:HASH>',
      'a head that was noted outside, as `audit heads` gives it; may be given again',
      (anchor: string, anchors: string[]) => [...anchors, anchor],
      [],
    )
    .option('--archives <DIR>', 'check the archive files in this folder too')
    .option('--no-temporal', 'leave Temporal out')
    .option('--strict', 'notices count as disagreements')
    .option('--json', 'one JSON object on stdout')
    .action(async (files: string[], args: VerifyArguments, command: Command) =>
      (await import('./commands/verify.js')).runVerify(configOf('verify', command), files, args),
    );
  const audit = program.commands.find((command) => command.name() === 'audit')!;
  addCommand(audit, 'audit heads', 'Print the head of each chain, to be kept elsewhere and given to `verify --anchor`.')
    .option('--json', 'one JSON object on stdout')
    .action(async (args: { json?: boolean }, command: Command) =>
      (await import('./commands/audit.js')).runAuditHeads(configOf('audit heads', command), args),
    );
  addCommand(audit, 'audit archive', 'Move old audit rows into checked files; their chains go on from there.')
    .requiredOption('--before <DURATION>', 'rows older than this, for example 90d')
    .requiredOption('--to <DIR>', 'folder for the files (mode 0600, gzip); made if there is none')
    .action(async (args: ArchiveArguments, command: Command) =>
      (await import('./commands/audit.js')).runAuditArchive(configOf('audit archive', command), args),
    );
}
