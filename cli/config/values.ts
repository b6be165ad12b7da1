import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { parseAllowedHost, type AllowedHost } from '../../domain/webhooks/allowed-target';

/** Where to listen. Port 0 is any free one. */
export interface ListenAddress {
  host: string;
  port: number;
}

/** `HOST:PORT`, an IPv6 host in brackets. */
export const listenAddress = z.string().transform((text, context): ListenAddress => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host !== undefined && port <= 65_535 && (match?.[1] === undefined || isIPv6(host))) return { host, port };
  context.addIssue({ code: 'custom', message: 'must be HOST:PORT, for example 127.0.0.1:8766 or [::1]:8766' });
  return z.NEVER;
});

/** A whole number within bounds, both inclusive. */
export const integer = (min: number, max: number): z.ZodType<number, string> => {
  const message = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
};

/** A TCP port. */
export const port = integer(1, 65_535);

/** Hosts that may be called, comma separated: `host`, `*.suffix`, each with an optional `:port`. */
export const allowedHosts = z.string().transform((text, context): AllowedHost[] => {
  const hosts = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseAllowedHost);
  if (hosts.every((host) => host !== null)) return hosts;
  context.addIssue({
    code: 'custom',
    message: 'must be hosts such as n8n.example.com, *.example.com or localhost:5678',
  });
  return z.NEVER;
});

/** A path; empty ones and NUL are refused. */
export const filePath = z
  .string()
  .min(1, 'must not be empty')
  .refine((path) => !path.includes('\0'), 'must not contain NUL');

/** A path that fits into a Unix socket's address. */
export const socketPath = filePath.refine(
  (path) => Buffer.byteLength(path) <= 107,
  'must not be longer than 107 bytes: that is the limit for Unix sockets',
);

/** Permission bits in octal. */
export const fileMode = z
  .string()
  .regex(/^0?[0-7]{3}$/, 'must be three octal digits, for example 660')
  .transform((text) => parseInt(text, 8));

/** The base URL of an api. */
export const httpUrl = z
  .string()
  .refine((text) => /^https?:$/.test(protocolOf(text) ?? ''), 'must be a URL that begins with http:// or https://');

/** The URL of a Postgres database. */
export const databaseUrl = z
  .string()
  .refine((text) => /^postgres(ql)?:$/.test(protocolOf(text) ?? ''), 'must be a URL that begins with postgresql://');

/** A name that Postgres takes without quotes. */
export const schemaName = z
  .string()
  .regex(
    /^[a-z_][a-z0-9_]{0,62}$/,
    'must be lower case letters, digits and "_", at most 63, not beginning with a digit',
  );

function protocolOf(text: string): string | null {
  try {
    return new URL(text).protocol;
  } catch {
    return null;
  }
}

/** Things separated by commas; nothing is none. */
export const commaList = <T>(item: z.ZodType<T, string>): z.ZodType<T[], string> =>
  z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    )
    .pipe(z.array(item));
