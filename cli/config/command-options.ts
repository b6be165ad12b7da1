import type { OptionName } from './options';

const LOGS = ['logLevel', 'logFormat'] as const;
const LEDGER = ['databaseUrl', 'databaseSchema'] as const;
const SERVICE = ['apiToken', 'apiUrl', 'dataDir', ...LEDGER] as const;
const SERVING = [...LEDGER, 'databasePoolSize', 'shutdownGrace', ...LOGS] as const;
const CONTROL = [
  'suspectBackoff',
  'sweepInterval',
  'sweepRunCheck',
  'sweepOverdue',
  'sweepCapacity',
  'fleetSweepInterval',
  'unhealthyAfter',
  'sealInterval',
  'retainBodies',
  'retainNoise',
  'metrics',
] as const;
const HTTP = [
  'listen',
  'operatorListen',
  'trustProxy',
  'requestsPerMinute',
  'commandLease',
  'heartbeatInterval',
] as const;
const ARTIFACTS = ['artifactsDir', 'retainArtifacts'] as const;
const WEBHOOKS = ['callbackHosts', 'callbackPrivate', 'signingKey'] as const;
const BACKENDS = ['containerRuntimes', 'runnerToken', 'runnerPrivateHosts'] as const;
const COMMANDS = ['backends', 'workspace', 'sandboxProfiles', ...BACKENDS] as const;
const OPENCROW = ['triggerPipe', 'lifecycleSocket', 'lifecycleSocketMode', 'lifecycleSocketGroup', 'spoolDir'] as const;

/** Which options a command uses; others it does not know. */
export const COMMAND_OPTIONS = {
  up: [
    'dataDir',
    ...HTTP,
    'policy',
    ...OPENCROW,
    'temporalUiPort',
    'temporalCli',
    'pool',
    'workerId',
    'maxOpenDeliveries',
    ...COMMANDS,
    ...SERVING,
    ...CONTROL,
    ...ARTIFACTS,
    ...WEBHOOKS,
  ],
  api: [...HTTP, 'autoMigrate', ...SERVING, ...ARTIFACTS, ...WEBHOOKS],
  control: ['autoMigrate', ...SERVING, ...CONTROL, ...WEBHOOKS],
  worker: [
    'pool',
    'workerId',
    'workerCredential',
    'apiUrl',
    ...OPENCROW,
    ...COMMANDS,
    'dataDir',
    'shutdownGrace',
    'metrics',
    ...LOGS,
  ],
  'worker enroll': ['pool', 'workerId', 'maxOpenDeliveries', 'dataDir', ...LEDGER],
  'workers list': ['dataDir', ...LEDGER],
  'workers show': ['dataDir', ...LEDGER],
  'workers register': ['pool', 'maxOpenDeliveries', 'dataDir', ...LEDGER],
  'workers rotate': ['dataDir', ...LEDGER],
  'workers activate': ['dataDir', ...LEDGER],
  'workers pause': ['dataDir', ...LEDGER],
  'workers resume': ['dataDir', ...LEDGER],
  'workers drain': ['dataDir', ...LEDGER],
  'workers retire': ['dataDir', ...LEDGER],
  'workers revoke': ['dataDir', ...LEDGER],
  'workers clear-suspect': ['dataDir', ...LEDGER],
  'pools list': ['dataDir', ...LEDGER],
  'pools show': ['dataDir', ...LEDGER],
  'pools create': ['dataDir', ...LEDGER],
  'pools update': ['dataDir', ...LEDGER],
  'pools pause': ['dataDir', ...LEDGER],
  'pools resume': ['dataDir', ...LEDGER],
  'pools retire': ['dataDir', ...LEDGER],
  'pools drain': ['dataDir', ...LEDGER],
  'quotas list': ['dataDir', ...LEDGER],
  'quotas set': ['dataDir', ...LEDGER],
  migrate: ['dataDir', ...LEDGER],
  'token create': ['dataDir', ...LEDGER],
  'token import': ['dataDir', ...LEDGER],
  'token list': ['dataDir', ...LEDGER],
  'token revoke': ['dataDir', ...LEDGER],
  exec: [...BACKENDS, 'apiToken'],
  'backend list': [...BACKENDS],
  'backend probe': [...BACKENDS],
  'audit grant-reader': ['dataDir', ...LEDGER],
  explain: [...SERVICE],
  replay: [...SERVICE],
  'policy check': [],
  'policy diff': [...SERVICE],
  'temporal setup': [],
  doctor: [
    'dataDir',
    'apiUrl',
    'agentUser',
    'triggerPipe',
    'lifecycleSocket',
    'spoolDir',
    'artifactsDir',
    'backends',
    ...BACKENDS,
    ...LEDGER,
  ],
  verify: ['dataDir', ...LEDGER],
  'audit heads': ['dataDir', ...LEDGER],
  'audit archive': ['dataDir', ...LEDGER],
} as const satisfies Record<string, readonly OptionName[]>;

export type CommandName = keyof typeof COMMAND_OPTIONS;

/** Options that a command cannot do without. */
export const REQUIRED_OPTIONS = {
  api: ['databaseUrl'],
  control: ['databaseUrl'],
  worker: ['workerId', 'workerCredential'],
  'worker enroll': ['workerId'],
} as const satisfies { [Command in CommandName]?: readonly (typeof COMMAND_OPTIONS)[Command][number][] };
