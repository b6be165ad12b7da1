import { BlockList, isIP } from 'node:net';

/**
 * Who may be reached under an address. `public`: the internet. `private`: this host and its networks (loopback, private,
 * shared and unique-local ranges). `never`: what no webhook has any business with (link-local, metadata services, multicast,
 * unspecified, reserved, and IPv6 ranges that stand for other addresses).
 */
export type AddressClass = 'public' | 'private' | 'never';

const PRIVATE = listOf([
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['::1', 128],
  ['fc00::', 7],
]);

const NEVER = listOf([
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
  // Metadata services outside the link-local range: Alibaba, Azure, AWS on IPv6.
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['fd00:ec2::', 32],
  // IETF special purpose with Teredo, documentation, 6to4.
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]);

/** The only IPv6 range that is handed out for the internet. */
const GLOBAL_V6 = listOf([['2000::', 3]]);

function listOf(ranges: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of ranges) list.addSubnet(network, prefix, family(network));
  return list;
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** The class of an IP address in its usual notation; anything that is none is `never`. */
export function addressClass(text: string): AddressClass {
  const address = unmapped(text);
  if (isIP(address) === 0) return 'never';
  const kind = family(address);
  if (NEVER.check(address, kind)) return 'never';
  if (PRIVATE.check(address, kind)) return 'private';
  return kind === 'ipv4' || GLOBAL_V6.check(address, kind) ? 'public' : 'never';
}

/** An IPv4 address that is written as IPv6, `::ffff:127.0.0.1` or `::ffff:7f00:1`, as IPv4; others as they are. */
function unmapped(text: string): string {
  if (isIP(text) !== 6) return text;
  const canonical = new URL(`http://[${text.replace(/%.*$/, '')}]`).hostname.slice(1, -1);
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical);
  if (!match) return canonical;
  const [high, low] = [parseInt(match[1]!, 16), parseInt(match[2]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
