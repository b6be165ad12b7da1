import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { ensureSearchAttributes } from '../../workers/search-attributes';
import { configuredTemporal } from '../../workers/temporal-connection';
import { CommandFailed } from '../exit-codes';

const DEADLINE_MS = 20_000;
const REFUSED = [3, 7, 12, 16];
const NOT_FOUND = 5;

/** `workloadd temporal setup`: registers what is missing, and may be run again at any time. */
export async function runTemporalSetup(): Promise<void> {
  const { connection: options, namespace } = configuredTemporal();
  const connection = Connection.lazy(options);
  const names = Object.values(SEARCH_ATTRIBUTES);
  try {
    const added = await connection.withDeadline(Date.now() + DEADLINE_MS, () =>
      ensureSearchAttributes(connection, namespace, names),
    );
    console.log(
      added.length === 0
        ? `namespace ${namespace} has all ${names.length} search attributes`
        : `namespace ${namespace}: registered ${added.join(', ')}`,
    );
  } catch (error) {
    throw explained(error, options.address ?? '', namespace, names);
  } finally {
    await connection.close();
  }
}

function explained(error: unknown, address: string, namespace: string, names: readonly string[]): CommandFailed {
  const code = (error as { code?: unknown }).code;
  if (code === NOT_FOUND) {
    return new CommandFailed(
      `Temporal at ${address} has no namespace ${namespace}: create it with \`temporal operator namespace create ${namespace}\``,
    );
  }
  if (typeof code === 'number' && REFUSED.includes(code)) {
    return new CommandFailed(
      `Temporal at ${address} does not let this client register search attributes (gRPC code ${code}): add these as Keyword by its own means (Temporal Cloud: \`tcld namespace search-attributes add\`): ${names.join(', ')}`,
    );
  }
  return new CommandFailed(
    `Temporal at ${address} cannot be reached: see that it runs and that TEMPORAL_ADDRESS is right`,
  );
}
