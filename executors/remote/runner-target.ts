import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { endpointFault } from '../../contracts/run-faults';
import { addressClass } from '../../domain/webhooks/address-class';
import { bare } from '../../domain/webhooks/allowed-target';

const isPublic = (address: string): boolean => addressClass(address) === 'public';

/** Whether a runner at this URL may be asked, and what is wrong when not. `privateHosts`: hosts that may be private. */
export function targetFault(
  endpoint: string,
  privateHosts: readonly string[],
): { code: 'invalid-endpoint' | 'endpoint-not-allowed'; reason: string } | null {
  const fault = endpointFault(endpoint);
  if (fault !== null) return { code: 'invalid-endpoint', reason: fault };
  const host = bare(new URL(endpoint).hostname);
  if (privateHosts.includes(host)) return null;
  if (host === 'localhost' || host.endsWith('.localhost') || (isIP(host) !== 0 && !isPublic(host))) {
    return {
      code: 'endpoint-not-allowed',
      reason: `${host} is private and not on the list of private runner hosts (--runner-private-hosts)`,
    };
  }
  return null;
}

/** Name look-up that refuses private addresses, so that a public name cannot lead inside. */
export const publicLookup =
  (privateHosts: readonly string[]): LookupFunction =>
  (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      const found = error ? [] : addresses;
      const refused = !privateHosts.includes(hostname) && found.find(({ address }) => !isPublic(address));
      const [first] = found;
      if (error || refused || !first) {
        callback(error ?? Object.assign(new Error('private address'), { code: 'EPRIVATE' }), '', 0);
      } else if (options.all) callback(null, found);
      else callback(null, first.address, first.family);
    });
  };
