import { lstatSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { secretFiles, type ConfigOf } from '../config';
import { defaultDataDir } from '../config/options';
import { CommandFailed } from '../exit-codes';
import { ledgerTarget } from '../ledger-access';
import { canUse, filesOpenTo } from './agent-files';
import { processesOpenTo } from './agent-processes';
import { agentUser, type AgentUser } from './agent-user';

/** A check of `doctor` by its name: gives what is well, says why it was skipped, or throws what is wrong. */
export type Check = [name: string, run: () => Promise<string | { skipped: string }>];

/** The places that matter here. */
interface Places {
  dataDir: string;
  triggerPipe: string;
  lifecycleSocket: string;
  /** What the agent's user must not get at. */
  closed: string[];
}

/** So many findings are printed; the rest is counted. */
const MOST_PRINTED = 5;

/**
 * That the agent, which runs as OpenCrow's user on this host, can read nothing of what the service keeps, and still reaches what OpenCrow
 * needs. Judged by ids and permission bits; ACLs and mandatory access control are not known here.
 */
export function agentChecks(
  config: ConfigOf<'doctor'>,
  args: { private?: string[] | undefined; databaseUrlFile?: string | undefined },
): Check[] {
  const places = placesOf(config, [
    ...(args.private ?? []),
    ...(args.databaseUrlFile === undefined ? [] : [args.databaseUrlFile]),
  ]);
  const check = (name: string, run: (agent: AgentUser) => string): Check => [
    name,
    async () => {
      const agent = agentUser(config.agentUser, places.triggerPipe);
      if (agent !== null) return Promise.resolve(run(agent));
      return { skipped: `there is no ${places.triggerPipe}: name OpenCrow's user by --agent-user` };
    },
  ];
  return [
    check('agent user', (agent) => checkUser(agent, places)),
    check('agent files', (agent) => checkFiles(agent, places)),
    check('agent processes', (agent) => checkProcesses(agent, config)),
    check('agent reach', (agent) => checkReach(agent, places)),
  ];
}

function checkUser(agent: AgentUser, { dataDir }: Places): string {
  if (agent.uid === 0)
    throw new CommandFailed(`${agent.label} is root, who reads everything: give OpenCrow a user of its own`);
  const owner = lstatSync(dataDir, { throwIfNoEntry: false })?.uid;
  if (owner === agent.uid || process.getuid?.() === agent.uid) {
    throw new CommandFailed(
      `the service runs as ${agent.label}, the agent's own user, so no permission can keep the agent out: run it under a user of its own (docs/audit.md, "The agent on the same host")`,
    );
  }
  return `${agent.label} is not the service's`;
}

function checkFiles(agent: AgentUser, { closed, dataDir, triggerPipe, lifecycleSocket }: Places): string {
  const shared = [path.join(dataDir, 'opencrow'), ...[triggerPipe, lifecycleSocket].map((each) => path.dirname(each))];
  const open = filesOpenTo(
    agent,
    closed,
    shared.filter((folder) => !closed.includes(folder)),
  );
  if (open.length > 0)
    throw new CommandFailed(
      `${agent.label} could get at ${listed(open)}: chown and chmod them (files 0600, folders 0700)`,
    );
  return `${agent.label} can read nothing in ${closed.join(', ')}`;
}

function checkProcesses(agent: AgentUser, config: ConfigOf<'doctor'>): string {
  const { findings, unseen } = processesOpenTo(agent, config.databaseUrl ? [config.databaseUrl().reveal()] : []);
  if (findings.length > 0)
    throw new CommandFailed(`${listed(findings)}: pass secrets in files that this user cannot read`);
  if (unseen === 0) return 'no secret in arguments, none in the environment of the agent’s processes';
  throw new CommandFailed(
    `the environment of ${unseen} processes of ${agent.label} cannot be looked at: run doctor as root`,
  );
}

function checkReach(agent: AgentUser, { triggerPipe, lifecycleSocket }: Places): string {
  const wanted = [
    [triggerPipe, 'read'],
    [lifecycleSocket, 'write'],
  ] as const;
  const there = wanted.filter(([file]) => lstatSync(file, { throwIfNoEntry: false }));
  const shut = there.filter(([file, use]) => !canUse(agent, file, use)).map(([file, use]) => `${use} ${file}`);
  if (shut.length > 0)
    throw new CommandFailed(
      `${agent.label} cannot ${listed(shut)}: see --lifecycle-socket-group, and the rights of the folders above`,
    );
  return there.length === 0
    ? 'no pipe and no socket yet'
    : `OpenCrow reaches ${there.map(([file]) => file).join(', ')}`;
}

function placesOf(config: ConfigOf<'doctor'>, further: readonly string[]): Places {
  const dataDir = path.resolve(config.dataDir ?? defaultDataDir(process.env));
  const inDataDir = (name: string): string => path.join(dataDir, 'opencrow', name);
  return {
    dataDir,
    triggerPipe: path.resolve(config.triggerPipe ?? inDataDir('trigger.pipe')),
    lifecycleSocket: path.resolve(config.lifecycleSocket ?? inDataDir('lifecycle.sock')),
    closed: [
      dataDir,
      ...[config.spoolDir, config.artifactsDir].filter((each) => each !== undefined),
      ...ownDatabase(dataDir, config),
      ...secretFiles(process.env),
      ...further,
    ]
      .map((each) => path.resolve(each))
      .filter((each) => lstatSync(each, { throwIfNoEntry: false })),
  };
}

/** Where an embedded Postgres lies that is not in the data dir, and the folder of its socket. */
function ownDatabase(dataDir: string, config: ConfigOf<'doctor'>): string[] {
  if (config.databaseUrl) return [];
  const places: string[] = [];
  try {
    places.push(readFileSync(path.join(dataDir, 'postgres', 'location'), 'utf8').trim());
  } catch {
    // It lies in the data dir, or there is none.
  }
  try {
    const { host } = ledgerTarget(config).connection;
    if (typeof host === 'string') places.push(host);
  } catch {
    // It does not run.
  }
  return places;
}

const listed = (findings: readonly string[]): string =>
  findings.slice(0, MOST_PRINTED).join('; ') +
  (findings.length > MOST_PRINTED ? `; and ${findings.length - MOST_PRINTED} more` : '');
