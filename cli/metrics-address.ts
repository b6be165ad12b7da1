import type { ListenAddress } from './config/values';

/** A listen address as Temporal's runtime takes it. */
export const metricsAddress = (address: ListenAddress | undefined): string | undefined =>
  address && (address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`);
