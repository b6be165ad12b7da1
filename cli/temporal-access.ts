import { configuredTemporal, isTemporalConfigured, type TemporalTarget } from '../workers/temporal-connection';
import { findTemporalDevServer } from '../workers/temporal-dev-server';
import { defaultDataDir } from './config/options';

/** The configured Temporal server, else the one that `up` runs on the data dir. */
export function temporalOf({ dataDir }: { dataDir: string | undefined }): TemporalTarget {
  const own = isTemporalConfigured(process.env) ? null : findTemporalDevServer(dataDir ?? defaultDataDir(process.env));
  return own === null ? configuredTemporal() : { connection: { address: own }, namespace: 'default' };
}
