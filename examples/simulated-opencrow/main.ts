import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { readAgentScript } from './agent-script';
import { SimulatedOpenCrow } from './simulated-opencrow';

interface Flags {
  sessionDir: string;
  lifecycleSocket: string;
  instance: string;
  script: string;
  receivedLog?: string;
  exitWithStdin?: boolean;
}

const CONTROL_HELP = `
Lines on standard input: "chat TEXT", "stop" (as !stop), "pause" and "resume" (the pipe's reader), "crash" (SIGKILL),
"quit" (as SIGTERM). Prints one JSON line {"ready":true,...} when the pipe has its reader.`;

function run(flags: Flags): void {
  const { sessionDir, lifecycleSocket, instance, receivedLog } = flags;
  const crow = new SimulatedOpenCrow({
    sessionDir,
    lifecycleSocket,
    instance,
    script: readAgentScript(flags.script),
    ...(receivedLog === undefined ? {} : { receivedLog }),
  });
  const quit = (): void => void crow.stop().then(() => process.exit(0));
  process.on('SIGTERM', quit);
  process.on('SIGINT', quit);
  crow.start();
  process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid, trigger_pipe: crow.triggerPipe })}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line.startsWith('chat ')) crow.chat(line.slice(5));
    else if (line === 'stop') crow.abort();
    else if (line === 'pause' || line === 'resume') crow.pauseReader(line === 'pause');
    else if (line === 'crash') process.kill(process.pid, 'SIGKILL');
    else if (line === 'quit') quit();
  });
  if (flags.exitWithStdin) lines.on('close', quit);
}

new Command('simulated-opencrow')
  .description('OpenCrow without an agent, for demos, benchmarks and tests')
  .requiredOption('--session-dir <dir>', 'holds trigger.pipe and the inbox')
  .option('--lifecycle-socket <path>', 'where lifecycle datagrams are sent; empty for none', '')
  .option('--instance <id>', 'OPENCROW_INSTANCE_ID', 'simulated')
  .option('--script <file-or-json>', 'what the agent does with which workload', '{}')
  .option('--received-log <file>', 'append what was received, run and sent as JSON lines')
  .option('--exit-with-stdin', 'end when standard input closes, so that it never outlives its starter')
  .addHelpText('after', CONTROL_HELP)
  .action(run)
  .parse();
