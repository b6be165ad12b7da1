#!/usr/bin/env node
// Stands for docker where there is no engine: takes the same arguments, notes them below $DOCKER_STAND_IN, and runs the command
// of `run` as a process of this host with the environment a container would get. A container is a file with its pid and one with
// its labels. Modes, by files in that folder:
//   dead          the daemon does not answer            fail-run   `run` exits with 125 before there is a container
//   digest        what `image inspect` prints; without  fail-pull  the image cannot be had
//                 it there is no image
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const folder = process.env.DOCKER_STAND_IN;
const at = (name) => path.join(folder, name);
const [verb, ...rest] = process.argv.slice(2);
appendFileSync(at('calls.ndjson'), `${JSON.stringify({ argv: process.argv.slice(2), env: process.env })}\n`);

const say = (code, out, err = '') => {
  process.stdout.write(out);
  process.stderr.write(err);
  process.exitCode = code;
};
const alive = (name) => existsSync(at(`container-${name}`));
const labelsOf = (name) =>
  existsSync(at(`labels-${name}`)) ? JSON.parse(readFileSync(at(`labels-${name}`), 'utf8')) : [];
const kill = (name) => {
  try {
    process.kill(-Number(readFileSync(at(`container-${name}`), 'utf8')), 'SIGKILL');
  } catch {
    // It has ended.
  }
};

if (existsSync(at('dead')))
  say(1, '\n', 'Cannot connect to the Docker daemon at unix:///stand-in. Is the docker daemon running?\n');
else if (verb === 'version') say(0, '99.9-stand-in\n');
else if (verb === 'container') say(alive(rest.at(-1)) ? 0 : 1, alive(rest.at(-1)) ? 'f00d\n' : '\n');
else if (verb === 'image')
  say(existsSync(at('digest')) ? 0 : 1, existsSync(at('digest')) ? readFileSync(at('digest'), 'utf8') : '\n');
else if (verb === 'pull')
  say(existsSync(at('fail-pull')) ? 1 : 0, '', 'Error response from daemon: pull access denied for x.\n');
else if (verb === 'kill') {
  if (!alive(rest[0])) say(1, '', `Error response from daemon: No such container: ${rest[0]}\n`);
  else {
    kill(rest[0]);
    say(0, `${rest[0]}\n`);
  }
} else if (verb === 'rm') {
  kill(rest.at(-1));
  rmSync(at(`container-${rest.at(-1)}`), { force: true });
  rmSync(at(`labels-${rest.at(-1)}`), { force: true });
  say(0, `${rest.at(-1)}\n`);
} else if (verb === 'ps') {
  const wanted = rest[rest.indexOf('--filter') + 1].replace(/^label=/, '');
  const names = readdirSync(folder).filter((name) => name.startsWith('container-'));
  const labelled = names
    .map((name) => name.slice('container-'.length))
    .filter((name) => labelsOf(name).some((label) => label === wanted || label.startsWith(`${wanted}=`)));
  say(0, labelled.map((name) => `${name}\n`).join(''));
} else if (verb === 'run') run(rest);
else say(125, '', `docker: '${verb}' is not a docker command.\n`);

function run(args) {
  const seen = { env: [], labels: [] };
  let index = 0;
  for (; index < args.length && args[index].startsWith('-'); index += 1) {
    const option = args[index];
    if (option === '--rm') continue;
    index += 1;
    if (option === '-e') seen.env.push(args[index]);
    else if (option === '--label') seen.labels.push(args[index]);
    else seen[option] = args[index];
  }
  const [, command, ...rest] = args.slice(index);
  if (existsSync(at('fail-run'))) {
    return say(
      125,
      '',
      "Unable to find image 'x:latest' locally\ndocker: Error response from daemon: pull access denied.\n",
    );
  }
  writeFileSync(seen['--cidfile'], 'f00d');
  const env = Object.fromEntries([
    ['PATH', process.env.PATH],
    ['HOME', '/root'],
    ...seen.env.map((name) => [name, process.env[name]]),
  ]);
  // Detached: as a container, it outlives the command line that started it.
  const child = spawn(command, rest, { cwd: seen['-w'], env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const pidFile = at(`container-${seen['--name']}`);
  writeFileSync(at(`labels-${seen['--name']}`), JSON.stringify(seen.labels));
  if (child.pid !== undefined) writeFileSync(pidFile, String(child.pid));
  child.stdout.pipe(process.stdout);
  child.stderr.pipe(process.stderr);
  child.on('error', () => say(127, '', `exec: "${command}": executable file not found in $PATH\n`));
  child.on('close', (code, signal) => {
    rmSync(pidFile, { force: true });
    rmSync(at(`labels-${seen['--name']}`), { force: true });
    process.exitCode = signal === 'SIGKILL' ? 137 : (code ?? 1);
  });
}
