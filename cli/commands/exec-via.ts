import { argvFault, endpointFault, timeoutFault } from '../../contracts/run-faults';
import type { ConfigOf } from '../config';
import { httpUrl } from '../config/values';
import { EXEC_EXIT, printWhole, readableEnvelope } from '../envelope-output';
import { CommandFailed, EXIT } from '../exit-codes';
import { printable } from '../printable';
import type { Asked } from '../via/asked';
import { Interrupts } from '../interrupts';
import { Service, ServiceAway, ServiceRefused } from '../via/service';
import { verdictOf, type Verdict } from '../via/verdict';
import { ViaRun } from '../via/via-run';
import { refuseStrayTargets, type ExecArguments } from './exec';

/**
 * `workloadd exec --via URL`: the command goes through a running service as a workload, so that the tenant's policy decides. What
 * happens and what the command prints goes to stderr as it comes, the envelope to stdout at the end. Fails with the exit code of
 * what became of it.
 */
export async function runExecVia(
  config: ConfigOf<'exec'>,
  args: ExecArguments & { via: string },
  argv: readonly string[],
): Promise<void> {
  const { apiToken } = config;
  if (!apiToken) throw wrong('--via needs an API token: set WORKLOADD_API_TOKEN, or name its file by --api-token-file');
  const url = httpUrl.safeParse(args.via);
  if (!url.success) throw wrong(`--via ${url.error.issues[0]!.message}`);
  const asked = askedOf(args, argv);
  // What the command prints need not end with a line.
  let inLine = false;
  const tell = (line: string): void => {
    process.stderr.write(`${inLine ? '\n' : ''}exec: ${line}\n`);
    inLine = false;
  };
  const service = new Service(url.data.replace(/\/+$/, ''), () => apiToken().reveal(), { tell });
  const interrupts = new Interrupts();
  const run = new ViaRun({
    service,
    asked,
    interrupt: interrupts.signal,
    tell,
    write: (text) => {
      process.stderr.write(text);
      inLine = !text.endsWith('\n');
    },
  });
  try {
    const verdict = await Promise.race([verdictOn(run), interrupts.second]);
    if (!verdict) throw new CommandFailed(leftText(run), EXIT.forced);
    await print(verdict, args.json === true, tell);
    // What was printed says it all.
    if (verdict.status !== 'completed') throw new CommandFailed('', EXEC_EXIT[verdict.status]);
  } finally {
    interrupts.stop();
    await run.leave();
  }
}

const wrong = (text: string): CommandFailed => new CommandFailed(text, EXIT.usage);

function askedOf(args: ExecArguments, [command, ...rest]: readonly string[]): Asked {
  const { backend, sandbox, image, digest, endpoint, job: jobId, label, cwd } = args;
  if (command === undefined || command === '') throw wrong('give a command, after --');
  refuseStrayTargets(args);
  const timeoutMs = args.timeoutMs === undefined ? undefined : Number(args.timeoutMs);
  // What is asked for is kept with the event: nothing broken, and above all no password, is to get there.
  const fault =
    argvFault([command, ...rest]) ??
    (timeoutMs === undefined ? null : timeoutFault(timeoutMs)) ??
    (endpoint === undefined ? null : endpointFault(endpoint));
  if (fault !== null) throw wrong(fault);
  return { backend, command, args: rest, cwd, sandbox, image, digest, endpoint, jobId, timeoutMs, label };
}

/** What became of it; also of one that the service does not take, or does not tell of any more. */
async function verdictOn(run: ViaRun): Promise<Verdict> {
  try {
    return verdictOf(await run.toItsEnd());
  } catch (error) {
    if (!(error instanceof ServiceRefused) && !(error instanceof ServiceAway)) throw error;
    const { workloadId } = run;
    const notTaken = error instanceof ServiceRefused && error.status >= 400 && workloadId === null;
    const rest = notTaken ? 'Nothing was run.' : `${workloadId ?? 'It'} may run: look before you run it again.`;
    return {
      status: 'refused',
      envelope: null,
      reason: `${error.message}. ${rest}`,
      workloadId,
      mayHaveRun: !notTaken,
    };
  }
}

function leftText({ workloadId }: ViaRun): string {
  return workloadId === null
    ? 'left; the service may have accepted it'
    : `left; ${workloadId} goes on without this command`;
}

async function print(
  { envelope, status, reason, workloadId, mayHaveRun }: Verdict,
  json: boolean,
  tell: (line: string) => void,
): Promise<void> {
  const isPlainEnd = envelope !== null && envelope.status === status && !envelope.provenance.outcomeUnknown;
  if (!isPlainEnd) tell(printable(reason));
  if (json) {
    const told = { status, reason, workload_id: workloadId, ...(mayHaveRun && { may_have_run: true }) };
    await printWhole(JSON.stringify(envelope ?? told));
  } else if (envelope) await printWhole(readableEnvelope(envelope));
}
