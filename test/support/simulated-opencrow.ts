import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { LogLine } from '../../examples/simulated-opencrow/simulated-opencrow';
import { TestProcess } from './processes';

const ROOT = resolve(__dirname, '../..');

/** A simulated OpenCrow in a process of its own, driven by lines on its standard input. */
export class OpenCrowProcess extends TestProcess {
  constructor(
    child: ReturnType<typeof spawn>,
    readonly sessionDir: string,
    private readonly input: (line: string) => void,
  ) {
    super(child);
  }

  get triggerPipe(): string {
    return join(this.sessionDir, 'trigger.pipe');
  }

  /** `chat TEXT`, `stop`, `pause`, `resume`, `crash`, `quit`. */
  say(line: string): void {
    this.input(`${line}\n`);
  }

  /** What it received, ran and sent so far, over all lives of its session folder. */
  log(): LogLine[] {
    try {
      const lines = readFileSync(join(this.sessionDir, 'log.jsonl'), 'utf8').trimEnd().split('\n');
      return lines.map((line) => JSON.parse(line) as LogLine);
    } catch {
      return [];
    }
  }

  /** Delivery ids in the order received; null for lines it took as plain triggers. */
  received(): (string | null)[] {
    return this.log().flatMap((line) => (line.type === 'received' ? [line.workload_id] : []));
  }
}

/** Starts one and waits until its pipe has a reader. `script` is JSON of an agent script. */
export async function startOpenCrow(options: {
  sessionDir: string;
  lifecycleSocket?: string;
  instance?: string;
  script?: unknown;
}): Promise<OpenCrowProcess> {
  const { sessionDir, lifecycleSocket = '', instance = 'crow1', script = {} } = options;
  const args = [
    join(ROOT, 'dist/examples/simulated-opencrow/main.js'),
    ...['--session-dir', sessionDir, '--lifecycle-socket', lifecycleSocket, '--instance', instance],
    ...['--script', JSON.stringify(script), '--received-log', join(sessionDir, 'log.jsonl'), '--exit-with-stdin'],
  ];
  // Jest gives each test file an environment of its own.
  const child = spawn(process.execPath, args, { cwd: ROOT, env: process.env, stdio: ['pipe', 'pipe', 'pipe'] });
  const crow = new OpenCrowProcess(child, sessionDir, (line) => void child.stdin.write(line));
  await crow.output(/"ready":true/);
  return crow;
}
