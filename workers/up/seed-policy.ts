import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { parsePolicy } from '../../domain/policy/parse';
import { PolicyInvalid } from '../../domain/policy/policy-invalid';
import type { Database } from '../../ledger/database';
import { activatePolicy, activePolicy, poolIds } from '../../ledger/policies';

const TENANT = 'default';

/** Gives tenant `default` the policy of a file while it has none. Fails when that policy is not valid. */
export async function seedPolicy(db: Database, file: string, logger: Logger): Promise<void> {
  const active = await activePolicy(db, TENANT);
  const source = readFileSync(file, 'utf8');
  if (active) {
    if (active.source !== source) {
      logger.warn(
        { file, active_version: active.version },
        'tenant default has a policy, so this file was not applied; use PUT /api/policy',
      );
    }
    return;
  }
  const { policy } = check(source, file, await poolIds(db, TENANT));
  const { version } = await activatePolicy(db, TENANT, { source, hash: policy.hash }, 'up', { onlyIfNone: true });
  logger.info({ file, version, policy_hash: policy.hash }, 'tenant default has its first policy');
}

function check(source: string, file: string, knownPools: string[]): ReturnType<typeof parsePolicy> {
  try {
    return parsePolicy(source, { knownPools });
  } catch (error) {
    if (!(error instanceof PolicyInvalid)) throw error;
    const [first] = error.problems;
    const where = first === undefined ? '' : `:${first.line}:${first.column}: ${first.detail}`;
    const rule = first?.rule_id ? ` (rule ${first.rule_id})` : '';
    throw new Error(`--policy ${file}${where}${rule}; ${wayOut(source, file)}`, { cause: error });
  }
}

/** Pools can be made only while the service runs, and `policy check` knows of none. */
function wayOut(source: string, file: string): string {
  try {
    parsePolicy(source);
    return 'start without --policy, make the pool with `workloadd pools create`, then start again with it';
  } catch {
    return `run \`workloadd policy check ${file}\` for all of it`;
  }
}
