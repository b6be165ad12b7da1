// `workloadd up` and a simulated OpenCrow whose agent asks its hooks.
import { spawn } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Starts a Node script with its output in a file; `ready` picks from stdout what tells that it works. */
function start(args, { env, logFile, ready }) {
  const child = spawn(process.execPath, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const log = createWriteStream(logFile, { flags: 'a', mode: 0o600 });
  child.stderr.pipe(log, { end: false });
  let output = '';
  const found = new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => {
      output += text;
      log.write(text);
      const match = ready.exec(output);
      if (match) resolve(match);
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${args[1] ?? args[0]} ended with ${code}; its log is ${logFile}`)));
  });
  found.catch(() => undefined);
  const stop = async (graceMs) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await ended;
    clearTimeout(timer);
  };
  return { found, stop };
}

/** The environment without what would lead `up` to somebody else's servers. */
const ownEnvironment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) =>
        /^WORKLOADD_(TEMPORAL_CLI|POSTGRES_USER)$/.test(name) ||
        !/^(WORKLOADD_|TEMPORAL_|DATABASE_URL|PG[A-Z]+$)/.test(name),
    ),
  );

/** The service on a folder of its own. `callbackHost` is n8n's host and port, which it may call. */
export async function startService({ root, folder, callbackHost }) {
  const dataDir = join(folder, 'data');
  const args = [
    ...[join(root, 'bin', 'workloadd.js'), 'up', '--data-dir', dataDir, '--listen', '127.0.0.1:0'],
    ...['--policy', join(root, 'scripts', 'n8n', 'policy.yaml')],
    ...['--trigger-pipe', join(folder, 'crow', 'trigger.pipe'), '--lifecycle-socket', join(folder, 'l.sock')],
    ...['--callback-hosts', callbackHost, '--callback-private', '--shutdown-grace', '5s'],
  ];
  const logFile = join(folder, 'workloadd.log');
  const up = start(args, { env: ownEnvironment(), logFile, ready: /^ {2}API +(\S+)$/m });
  const url = (
    await up.found.catch(async (error) => {
      await up.stop(60_000);
      throw error;
    })
  )[1];
  const token = readFileSync(join(dataDir, 'admin.token'), 'utf8').trim();
  const ask = async (method, path, body) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? null : JSON.parse(text) };
  };
  return { url, token, dataDir, ask, stop: () => up.stop(80_000) };
}

/** OpenCrow with an agent that reads its entry and makes a task of it, and that fails at what says so. */
export async function startOpenCrow({ root, folder, hookUrl }) {
  const hook = (...args) => [process.execPath, join(root, 'examples', 'opencrow', 'context-hook'), ...args];
  const triage = [
    hook('context-rss', 'show-entry', 'entry_id={entry_id}'),
    hook('context-rss', 'show-entry', 'entry_id=0'),
    hook('--key', 'task-{entry_id}', 'mutation-task-create', 'create-task', 'project=triage', 'title=Entry {entry_id}'),
  ];
  const script = {
    rules: [
      { match: { source: 'rss' }, behaviour: 'complete', commands: triage },
      { match: { contains: 'make it fail' }, behaviour: 'fail' },
    ],
  };
  const receivedLog = join(folder, 'crow.jsonl');
  const args = [
    join(root, 'dist', 'examples', 'simulated-opencrow', 'main.js'),
    ...['--session-dir', join(folder, 'crow'), '--lifecycle-socket', join(folder, 'l.sock'), '--exit-with-stdin'],
    ...['--script', JSON.stringify(script), '--received-log', receivedLog],
  ];
  const env = { ...process.env, CONTEXT_HOOK_URL: hookUrl };
  const crow = start(args, { env, logFile: join(folder, 'crow.log'), ready: /"ready":true/ });
  await crow.found;
  const log = () =>
    readFileSync(receivedLog, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  return { log, stop: () => crow.stop(10_000) };
}
