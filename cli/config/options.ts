import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { duration } from '../../contracts/duration';
import { slug } from '../../contracts/ids';
import { COMMAND_EXECUTORS } from '../../contracts/terminology';
import { optional, secret, toggle, withDefault, type Option, type SecretOption, type SecretSource } from './option';
import {
  allowedHosts,
  commaList,
  databaseUrl,
  fileMode,
  filePath,
  httpUrl,
  integer,
  listenAddress,
  port,
  schemaName,
  socketPath,
} from './values';

/** Where state is kept when nobody says otherwise. */
export const defaultDataDir = (env: NodeJS.ProcessEnv): string =>
  path.join(env['XDG_STATE_HOME'] || path.join(os.homedir(), '.local', 'state'), 'opencrow-workloadd');

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** Every option of the service. Flags, variables, defaults, help and documentation all come from here. */
export const OPTIONS = {
  dataDir: optional('DIR', {
    doc: 'Folder for everything `up` keeps: its servers’ data, the admin token, its worker’s credential and spool. For `worker`, where the spool goes unless `--spool-dir` says otherwise. For operator commands: the folder of a running `up` whose database to use when no database URL is given.',
    derived: '`$XDG_STATE_HOME/opencrow-workloadd`, or `~/.local/state/opencrow-workloadd`',
    schema: filePath,
  }),
  listen: withDefault('HOST:PORT', '127.0.0.1:8766', {
    doc: 'Address of the HTTP API. Port 0 takes any free port.',
    schema: listenAddress,
  }),
  operatorListen: optional('HOST:PORT', {
    doc: 'Second address of the HTTP API, for a private network: tokens with the scope `operator` are then good there and nowhere else.',
    derived: 'they are good at `--listen`',
    schema: listenAddress,
  }),
  trustProxy: withDefault('HOPS', '0', {
    doc: 'Reverse proxies in front of the api: how many of the last addresses in `X-Forwarded-For` to believe.',
    schema: integer(0, 10),
  }),
  commandLease: withDefault('DURATION', '30s', {
    doc: 'How long a command counts as under way when its worker is not heard of. Workers renew at a third of it. Then it is lost, or taken over where a runner has it.',
    schema: duration('1s', '1h'),
  }),
  requestsPerMinute: withDefault('N', '0', {
    doc: 'Requests a minute that one token or worker credential may make of this api process; 0 is no limit. What a worker does under a lease is not counted.',
    schema: integer(0, 1_000_000),
  }),
  databaseUrl: secret({
    doc: 'URL of the ledger’s Postgres database, for example `postgresql://user:password@host/database`. It usually holds a password, so it is no flag.',
    derived: 'for `up`, an embedded Postgres below the data dir',
    aliases: ['DATABASE_URL'],
    schema: databaseUrl,
  }),
  databaseSchema: optional('NAME', {
    doc: 'Postgres schema of the ledger; `migrate` creates it. Replaces the search path of the database URL.',
    derived: 'the search path of the connection, usually `public`',
    schema: schemaName,
  }),
  databasePoolSize: withDefault('N', '10', {
    doc: 'Most connections of this process to the ledger’s database.',
    schema: integer(2, 200),
  }),
  autoMigrate: toggle(
    'Bring the ledger’s schema up to date at start instead of refusing to run on an old one. `up` always does.',
  ),
  policy: optional('FILE', {
    doc: 'Policy that tenant `default` gets while it has none. Later changes go through `PUT /api/policy`.',
    schema: filePath,
  }),
  triggerPipe: optional('PATH', {
    doc: 'OpenCrow’s trigger pipe, `<OPENCROW_PI_SESSION_DIR>/trigger.pipe`: the real path, no symbolic link.',
    derived: 'for `up`, `opencrow/trigger.pipe` below the data dir; `worker` needs it unless it offers backends only',
    schema: filePath,
  }),
  lifecycleSocket: optional('PATH', {
    doc: 'Datagram socket to bind for OpenCrow’s lifecycle events: its `OPENCROW_WORKLOAD_LIFECYCLE_SOCKET`. At most 107 bytes.',
    derived: 'for `up`, `opencrow/lifecycle.sock` below the data dir; `worker` needs it unless it offers backends only',
    schema: socketPath,
  }),
  lifecycleSocketMode: withDefault('OCTAL', '660', {
    doc: 'Permission bits of the lifecycle socket. OpenCrow’s user needs write permission; whoever has it can report lifecycle.',
    schema: fileMode,
  }),
  lifecycleSocketGroup: optional('GROUP', {
    doc: 'Group of the lifecycle socket, by name or number.',
    derived: 'the group of the process',
    schema: z.string().min(1, 'must not be empty'),
  }),
  agentUser: optional('USER', {
    doc: 'User that OpenCrow and its agent run as, by name or number; groups that this host does not know it by after a colon, as in `990:990,100`. `doctor` fails when that user could read what the service keeps.',
    derived: 'the owner of the trigger pipe',
    schema: z
      .string()
      .regex(
        /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:\d+(,\d+)*)?$/,
        'must be USER or USER:GID,GID, such as opencrow or 990:990',
      ),
  }),
  pool: withDefault('POOL', 'default', {
    doc: 'Pool the worker belongs to; it polls the Temporal task queue `pool:<pool>`.',
    schema: slug,
  }),
  workerId: optional('ID', {
    doc: 'Id the worker was enrolled with.',
    derived: 'for `up`, `local`; `worker` needs it',
    schema: slug,
  }),
  workerCredential: secret({
    doc: 'The worker’s credential, as `worker enroll` gave it. From a file it is read again for each request, so it can be rotated without a restart.',
    aliases: [],
    schema: z.string().regex(/^oww_[0-9a-z]{16}_[A-Za-z0-9_-]{43}$/, 'is not a worker credential (oww_…)'),
  }),
  apiUrl: withDefault('URL', 'http://127.0.0.1:8766', {
    doc: 'Where the api is reached.',
    schema: httpUrl,
  }),
  apiToken: secret({
    doc: 'API token. With one, the command goes through the api at the API URL, in the token’s tenant; without, through the ledger’s database. `exec --via` needs one.',
    aliases: [],
    schema: z.string().regex(/^owt_[0-9a-z]{16}_[A-Za-z0-9_-]{43}$/, 'is not an API token (owt_…)'),
  }),
  spoolDir: optional('DIR', {
    doc: 'Folder of this worker alone: received lifecycle that is not reported yet, and the leases it holds. It must survive restarts.',
    derived: '`workers/<worker-id>` below the data dir',
    schema: filePath,
  }),
  maxOpenDeliveries: optional('N', {
    doc: 'Deliveries the worker may have open at once. OpenCrow runs one at a time and cannot give one back.',
    derived: '1; what it is for a worker that is enrolled already',
    schema: integer(1, 1000),
  }),
  shutdownGrace: withDefault('DURATION', '30s', {
    doc: 'How long a stop may take to finish or hand back what is held. The supervisor’s own limit must be at least 30 s longer.',
    schema: duration('1s', '1h'),
  }),
  suspectBackoff: withDefault('DURATION', '1m', {
    doc: 'First wait before one delivery may probe an OpenCrow that lost one; it doubles up to 30 m.',
    schema: duration('1s', '30m'),
  }),
  sweepInterval: withDefault('DURATION', '30s', {
    doc: 'Time between two sweeps for workloads that Temporal forgot.',
    schema: duration('1s', '1h'),
  }),
  sweepRunCheck: withDefault('DURATION', '10m', {
    doc: 'How often an open workload’s workflow, and its place on its pool’s queue, are looked for.',
    schema: duration('1s', '1d'),
  }),
  sweepOverdue: withDefault('DURATION', '1m', {
    doc: 'How long a deadline may be over before the workload is woken again.',
    schema: duration('1s', '1d'),
  }),
  sweepCapacity: withDefault('DURATION', '30s', {
    doc: 'How long a workload may be queued before its record says whether its pool has a worker at all.',
    schema: duration('1s', '1d'),
  }),
  fleetSweepInterval: withDefault('DURATION', '15s', {
    doc: 'Time between two looks for workers that are silent or lose what they hold. A Temporal Schedule looks every 5 minutes besides.',
    schema: duration('1s', '5m'),
  }),
  unhealthyAfter: withDefault('DURATION', '1m', {
    doc: 'How long a worker may be silent before it is `unhealthy`: at least three times the heartbeat interval.',
    schema: duration('3s', '1h'),
  }),
  heartbeatInterval: withDefault('DURATION', '15s', {
    doc: 'Time between two heartbeats that workers are asked for.',
    schema: duration('1s', '5m'),
  }),
  sealInterval: withDefault('DURATION', '1s', {
    doc: 'Time between two looks for audit rows that are not sealed into their hash chain yet.',
    schema: duration('1s', '1h'),
  }),
  retainBodies: withDefault('DURATION', '90d', {
    doc: 'Event bodies of ended workloads, and commands filled in from them, are deleted after this time. Identity, decision, audit and the evidence of commands, which quotes them, stay.',
    schema: duration('1d', '3650d'),
  }),
  retainNoise: withDefault('DURATION', '30d', {
    doc: 'Idempotency keys, deleted source state, and lifecycle of unknown deliveries are forgotten after this time.',
    schema: duration('1d', '3650d'),
  }),
  artifactsDir: optional('DIR', {
    doc: 'Folder in which the api keeps what commands print. All api processes must have the same one, for example on a shared file system.',
    derived: 'for `up`, `artifacts` below the data dir; without one, nothing is kept',
    schema: filePath,
  }),
  retainArtifacts: withDefault('DURATION', '30d', {
    doc: 'What the commands of a workload printed is deleted this long after its end. Size and digest stay.',
    schema: duration('1h', '3650d'),
  }),
  callbackHosts: withDefault('HOSTS', '', {
    doc: 'Hosts that callbacks and subscriptions may call, comma separated: `n8n.example.com`, `*.example.com`, `localhost:5678`. Without a port, 80 and 443. Empty: none, and events with a `callback_url` are refused. The same for api and control.',
    schema: allowedHosts,
  }),
  callbackPrivate: toggle(
    'Let callbacks and subscriptions reach this host and private networks, where their host is one of `--callback-hosts`. Link-local addresses, metadata services and reserved ranges stay refused. The same for api and control.',
  ),
  signingKey: secret({
    doc: 'Key from which all webhook secrets follow, those of callbacks, subscriptions and signed inbound webhooks: at least 32 characters, random, the same for api and control. Another key makes other secrets.',
    derived: 'for `up`, `signing.key` below the data dir; without one, no webhooks',
    aliases: [],
    schema: z.string().min(32, 'must be at least 32 characters'),
  }),
  backends: withDefault('LIST', '', {
    doc: 'Execution backends that the worker offers, comma separated: `node`, `container`, `remote`, `ci`. Commands of rules run on these, with the rights of the worker’s user. Empty: it runs no commands.',
    schema: commaList(
      z.enum(COMMAND_EXECUTORS, 'must list node, container, remote and ci, separated by commas'),
    ).refine((list) => new Set(list).size === list.length, 'must not name a backend twice'),
  }),
  workspace: optional('DIR', {
    doc: 'Folder that the commands of rules run in or below; their `cwd` is relative to it. It is made when there is none.',
    derived: '`workspace` below the spool folder',
    schema: filePath,
  }),
  sandboxProfiles: optional('DIR', {
    doc: 'Folder of sandbox profiles for the commands of rules, `<id>.json` each.',
    derived: 'only the bundled profiles are known',
    schema: filePath,
  }),
  containerRuntimes: withDefault('LIST', 'docker', {
    doc: 'Container runtimes that may be used, in order: `docker`, `podman` or both. The next one is used when the one before is not there or its daemon does not answer.',
    schema: commaList(z.enum(['docker', 'podman'], 'must list docker and podman, separated by commas')),
  }),
  runnerToken: secret({
    doc: 'Token that is sent as bearer to remote and CI runners.',
    aliases: [],
    schema: z.string().min(1, 'must not be empty'),
  }),
  runnerPrivateHosts: withDefault('LIST', '', {
    doc: 'Hosts with private addresses that may be runners, separated by commas. Other private addresses are refused.',
    schema: commaList(z.string().min(1)),
  }),
  temporalUiPort: optional('PORT', {
    doc: 'Port of the Web UI of the Temporal dev server that `up` starts.',
    derived: 'the one used last, or any free one',
    schema: port,
  }),
  temporalCli: optional('PATH', {
    doc: 'Temporal’s CLI, which holds the dev server that `up` starts.',
    derived: '`temporal` on PATH, the cache folder, a download, a build with Go',
    schema: filePath,
  }),
  metrics: optional('HOST:PORT', {
    doc: 'Address for the Prometheus metrics of the Temporal worker of this process. The api has its own at `/metrics`.',
    derived: 'no metrics',
    schema: listenAddress,
  }),
  logLevel: withDefault('LEVEL', 'info', {
    doc: `Least level that is logged: ${LOG_LEVELS.join(', ')}.`,
    schema: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`),
  }),
  logFormat: withDefault('FORMAT', 'json', {
    doc: 'Logs on stderr as one JSON object a line (`json`), or for reading (`pretty`).',
    schema: z.enum(['json', 'pretty'], 'must be json or pretty'),
  }),
} as const satisfies Record<string, Option<unknown> | SecretOption>;

export type OptionName = keyof typeof OPTIONS;

/** What a loaded option is; a secret that nobody gave is undefined. */
export type OptionValue<Name extends OptionName> =
  (typeof OPTIONS)[Name] extends Option<infer T> ? T : SecretSource | undefined;
