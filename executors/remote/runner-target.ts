import { lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Addresses that lead into the worker's own network. */
const PRIVATE = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv4');
  PRIVATE.addSubnet(`::ffff:${network}`, 96 + prefix, 'ipv6');
}
for (const [network, prefix] of [
  ['::', 127],
  ['64:ff9b::', 96],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv6');
}

const isPrivate = (address: string): boolean => PRIVATE.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** Whether a runner at this URL may be asked, and what is wrong when not. `privateHosts`: hosts that may be private. */
export function targetFault(
  endpoint: string,
  privateHosts: readonly string[],
): { code: 'invalid-endpoint' | 'endpoint-not-allowed'; reason: string } | null {
  const invalid = (reason: string) => ({ code: 'invalid-endpoint' as const, reason });
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    return invalid('the endpoint must be an http or https URL');
  if (url.username !== '' || url.password !== '') {
    return invalid('the endpoint must hold no user and no password; the runner’s token is a setting of the worker');
  }
  if (url.hash !== '') return invalid('the endpoint must have no fragment');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (privateHosts.includes(host)) return null;
  if (host === 'localhost' || host.endsWith('.localhost') || (isIP(host) !== 0 && isPrivate(host))) {
    return { code: 'endpoint-not-allowed', reason: `${host} is private and not on the list of private runner hosts` };
  }
  return null;
}

/** Name look-up that refuses private addresses, so that a public name cannot lead inside. */
export const publicLookup =
  (privateHosts: readonly string[]): LookupFunction =>
  (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      const found = error ? [] : addresses;
      const refused = !privateHosts.includes(hostname) && found.find(({ address }) => isPrivate(address));
      const [first] = found;
      if (error || refused || !first) {
        callback(error ?? Object.assign(new Error('private address'), { code: 'EPRIVATE' }), '', 0);
      } else if (options.all) callback(null, found);
      else callback(null, first.address, first.family);
    });
  };
