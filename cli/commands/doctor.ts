import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { pendingMigrations } from '../../ledger/migrate';
import type { TemporalTarget } from '../../workers/temporal-connection';
import { unknownVariables, type ConfigOf } from '../config';
import { CommandFailed } from '../exit-codes';
import { explain } from '../failure';
import { agentChecks, type Check } from '../doctor/agent-checks';
import { backendChecks } from '../doctor/backend-checks';
import { openLogin, partsOf } from '../doctor/database-login';
import { ledgerTarget, withLedger } from '../ledger-access';
import { temporalOf } from '../temporal-access';

const DEADLINE_MS = 5_000;

/** Arguments of `doctor`. */
export interface DoctorArguments {
  /** Further files that the agent's user must not get at. */
  private?: string[] | undefined;
  databaseUrlFile?: string | undefined;
}

/** `workloadd doctor`: looks at what the service needs, changes nothing, fails when something is wrong. */
export async function runDoctor(config: ConfigOf<'doctor'>, args: DoctorArguments): Promise<void> {
  const checks: Check[] = [
    ['variables', () => checkVariables()],
    ['ledger', () => checkLedger(config)],
    ['ledger login', () => checkLedgerLogin(config)],
    ['temporal', () => checkTemporal(temporalOf(config))],
    ['api', () => checkApi(config.apiUrl)],
    ...backendChecks(config),
    ...agentChecks(config, args),
  ];
  let failed = 0;
  for (const [name, check] of checks) {
    try {
      const result = await check();
      console.log(typeof result === 'string' ? `ok    ${name}: ${result}` : `skip  ${name}: ${result.skipped}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}: ${explain(error).text.replace(/^error: /, '')}`);
    }
  }
  if (failed > 0) throw new CommandFailed(`${failed} of ${checks.length} checks failed`);
}

async function checkVariables(): Promise<string> {
  const unknown = unknownVariables(process.env);
  if (unknown.length > 0) throw new CommandFailed(`nothing reads ${unknown.join(', ')}: see docs/configuration.md`);
  return Promise.resolve('all WORKLOADD_* variables are known');
}

async function checkLedgerLogin(config: ConfigOf<'doctor'>): Promise<string> {
  const { connection } = ledgerTarget(config);
  const open = await openLogin(connection.connectionString ? partsOf(connection.connectionString) : connection);
  if (open !== null) throw new CommandFailed(open);
  return 'not without a password, or for another user of this host';
}

async function checkLedger(config: ConfigOf<'doctor'>): Promise<string> {
  const missing = await withLedger(config, pendingMigrations);
  if (missing.length > 0) throw new CommandFailed(`lacks ${missing.join(', ')}: run \`workloadd migrate\``);
  return 'reachable, up to date';
}

async function checkTemporal({ connection: options, namespace }: TemporalTarget): Promise<string> {
  const connection = Connection.lazy(options);
  try {
    const { customAttributes } = await connection.withDeadline(Date.now() + DEADLINE_MS, () =>
      connection.operatorService.listSearchAttributes({ namespace }),
    );
    const missing = Object.values(SEARCH_ATTRIBUTES).filter((name) => !(name in customAttributes));
    if (missing.length === 0) return `${options.address ?? ''}, namespace ${namespace}`;
    throw new CommandFailed(`namespace ${namespace} lacks ${missing.join(', ')}: run \`workloadd temporal setup\``);
  } catch (error) {
    if (error instanceof CommandFailed) throw error;
    throw new CommandFailed(
      `${options.address ?? ''} does not answer for namespace ${namespace}: see TEMPORAL_ADDRESS`,
    );
  } finally {
    await connection.close();
  }
}

async function checkApi(apiUrl: string): Promise<string> {
  const url = `${apiUrl.replace(/\/+$/, '')}/readyz`;
  const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) }).catch(() => null);
  if (response === null) throw new CommandFailed(`${url} does not answer: see --api-url`);
  if (!response.ok)
    throw new CommandFailed(`${url} answers ${response.status}: ${(await response.text()).slice(0, 300)}`);
  return `${apiUrl} is ready`;
}
