// One n8n of a test: its folder, its database, its process.
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.mjs';

const OWNER = { email: 'owner@example.org', firstName: 'Olive', lastName: 'Owner', password: 'Owner-of-a-test-1' };
const SCOPES = ['execution:read', 'execution:list', 'workflow:read', 'workflow:list', 'workflow:activate'];

/** An n8n process and its REST interfaces. */
export class N8n {
  #child = null;
  #cookie = '';
  #apiKey = '';

  /** `commands` are the paths of Node and n8n, `database` how to reach its Postgres, `port` and `brokerPort` free ports. */
  constructor({ commands, userFolder, database, port, brokerPort, logFile }) {
    this.commands = commands;
    this.logFile = logFile;
    this.url = `http://127.0.0.1:${port}`;
    this.env = {
      PATH: `${join(commands.node, '..')}:${process.env.PATH}`,
      HOME: userFolder,
      N8N_USER_FOLDER: userFolder,
      N8N_ENCRYPTION_KEY: randomBytes(24).toString('hex'),
      N8N_LISTEN_ADDRESS: '127.0.0.1',
      N8N_PORT: String(port),
      N8N_RUNNERS_BROKER_PORT: String(brokerPort),
      WEBHOOK_URL: `${this.url}/`,
      N8N_SECURE_COOKIE: 'false',
      N8N_DIAGNOSTICS_ENABLED: 'false',
      N8N_VERSION_NOTIFICATIONS_ENABLED: 'false',
      N8N_TEMPLATES_ENABLED: 'false',
      N8N_PERSONALIZATION_ENABLED: 'false',
      N8N_HIRING_BANNER_ENABLED: 'false',
      N8N_VERIFIED_PACKAGES_ENABLED: 'false',
      N8N_LOG_LEVEL: 'info',
      GENERIC_TIMEZONE: 'UTC',
      DB_TYPE: 'postgresdb',
      DB_POSTGRESDB_HOST: String(database.host),
      DB_POSTGRESDB_PORT: String(database.port ?? 5432),
      DB_POSTGRESDB_DATABASE: database.database,
      DB_POSTGRESDB_USER: database.user,
      DB_POSTGRESDB_PASSWORD: database.password,
    };
  }

  /** Runs a command of n8n to its end; fails with its output when it does. */
  command(...args) {
    const { node, n8n } = this.commands;
    const { status, stdout, stderr } = spawnSync(node, [n8n, ...args], { env: this.env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`n8n ${args.join(' ')} failed (${status}):\n${stdout}${stderr}`);
    return stdout;
  }

  async start() {
    const { node, n8n } = this.commands;
    this.#child = spawn(node, [n8n, 'start'], { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(this.logFile, { flags: 'a', mode: 0o600 });
    this.#child.stdout.pipe(log, { end: false });
    this.#child.stderr.pipe(log, { end: false });
    const child = this.#child;
    await eventually(`n8n is ready; its log is ${this.logFile}`, 180_000, async () => {
      if (child.exitCode !== null) throw new Error(`n8n ended with ${child.exitCode}; its log is ${this.logFile}`);
      // Healthy comes before the REST interface is there.
      const answers = await Promise.all(['/healthz', '/rest/settings'].map((path) => fetch(`${this.url}${path}`)));
      return answers.every((answer) => answer.ok && !answer.headers.get('content-type')?.includes('html'));
    });
  }

  /** Makes the owner, logs in, and makes an API key. */
  async setUp() {
    await this.rest('POST', '/rest/owner/setup', OWNER);
    const login = await fetch(`${this.url}/rest/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ emailOrLdapLoginId: OWNER.email, password: OWNER.password }),
    });
    if (!login.ok) throw new Error(`n8n refused the login: ${login.status} ${await login.text()}`);
    this.#cookie = login.headers
      .getSetCookie()
      .map((each) => each.split(';')[0])
      .join('; ');
    const key = await this.rest('POST', '/rest/api-keys', { label: 'test', expiresAt: null, scopes: SCOPES });
    this.#apiKey = key.data.rawApiKey;
  }

  get owner() {
    return OWNER;
  }

  get apiKey() {
    return this.#apiKey;
  }

  /** A call as the logged-in owner. */
  async rest(method, path, body) {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', cookie: this.#cookie },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`n8n: ${method} ${path} answered ${answer.status}: ${text.slice(0, 1000)}`);
    return JSON.parse(text);
  }

  /** Publishes or withdraws a workflow, as an API client does. */
  async publish(id, on = true) {
    const answer = await fetch(`${this.url}/api/v1/workflows/${id}/${on ? 'activate' : 'deactivate'}`, {
      method: 'POST',
      headers: { 'X-N8N-API-KEY': this.#apiKey },
    });
    if (!answer.ok) throw new Error(`n8n does not publish ${id}: ${answer.status} ${await answer.text()}`);
  }

  /** Executions of a workflow, newest first, with their data. */
  async executions(workflowId) {
    const path = `/api/v1/executions?includeData=true&workflowId=${workflowId}`;
    const answer = await fetch(`${this.url}${path}`, { headers: { 'X-N8N-API-KEY': this.#apiKey } });
    if (!answer.ok) throw new Error(`n8n does not list executions: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).data;
  }

  /** Calls a published webhook. */
  async webhook(path, body, headers = {}) {
    const answer = await fetch(`${this.url}/webhook/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? null : JSON.parse(text) };
  }

  /** SIGTERM, and SIGKILL when that takes too long. */
  async stop() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    await ended;
    clearTimeout(timer);
  }
}
