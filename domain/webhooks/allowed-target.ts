import { isIP } from 'node:net';
import { addressClass } from './address-class';

/** One entry of the allow-list. */
export interface AllowedHost {
  /** Lower case; `*.example.com` stands for every name below it, and not for itself. An IPv6 address has brackets. */
  host: string;
  /** Null: the usual port of the URL's scheme. */
  port: number | null;
}

/** Who may be called. */
export interface TargetRules {
  hosts: readonly AllowedHost[];
  /** Allowed hosts may be on this machine or its private networks. */
  allowPrivate: boolean;
}

/** Why a target is refused. */
export type TargetRefusal = 'no_hosts_allowed' | 'host_not_allowed' | 'port_not_allowed' | 'address_not_allowed';

/** `host`, `*.suffix`, each with an optional `:port`; null for anything else. */
export function parseAllowedHost(text: string): AllowedHost | null {
  const match = /^(\*\.)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? null : Number(match[3]);
  if (!match || (port !== null && (port < 1 || port > 65_535)) || !URL.canParse(`http://${match[2]!}`)) return null;
  const { hostname } = new URL(`http://${match[2]!}`);
  if (match[1] !== undefined && (isIP(bare(hostname)) !== 0 || !hostname.includes('.'))) return null;
  return { host: (match[1] ?? '') + hostname, port };
}

/**
 * Why a URL must not be called, as far as it can be told without asking DNS; null when nothing is against it. The URL parser has
 * made addresses in decimal, octal or hexadecimal notation plain ones.
 */
export function refusalOf(url: URL, rules: TargetRules): TargetRefusal | null {
  if (rules.hosts.length === 0) return 'no_hosts_allowed';
  const named = rules.hosts.filter(({ host }) => covers(host, url.hostname.replace(/\.$/, '')));
  if (named.length === 0) return 'host_not_allowed';
  if (!named.some(({ port }) => (port === null ? url.port === '' : port === portOf(url)))) return 'port_not_allowed';
  const address = bare(url.hostname);
  return isIP(address) === 0 || isAddressAllowed(address, rules) ? null : 'address_not_allowed';
}

/** Whether an address that a host resolved to may be called. */
export function isAddressAllowed(address: string, { allowPrivate }: TargetRules): boolean {
  const kind = addressClass(address);
  return kind === 'public' || (kind === 'private' && allowPrivate);
}

const covers = (pattern: string, hostname: string): boolean =>
  pattern.startsWith('*.') ? hostname.endsWith(pattern.slice(1)) && isIP(hostname) === 0 : pattern === hostname;

/** The port a URL means. */
export const portOf = (url: URL): number => Number(url.port) || (url.protocol === 'https:' ? 443 : 80);

/** A hostname without the brackets of IPv6. */
export const bare = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, '$1');
