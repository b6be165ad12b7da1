import { createHash, type Hash } from 'node:crypto';
import type { RefusalCode } from '../../contracts/execution';

/** What a command that ran left behind. */
export interface Exit {
  command: string;
  args: readonly string[];
  /** Null when it was ended by a signal, a limit, or could not be started. */
  exitCode: number | null;
  /** As {@link StdoutDigest} gives it. */
  stdoutDigest: string;
}

/**
 * The three lines of a command that ran, the same on every backend. Arguments are joined by one space and not quoted, so that
 * `["a b"]` and `["a","b"]` give the same line; the unambiguous vector stands in provenance.
 */
export const exitEvidence = ({ command, args, exitCode, stdoutDigest }: Exit): string[] => [
  `command:${commandLine(command, args)}`,
  `exitCode:${exitCode === null ? 'null' : exitCode}`,
  `stdoutSha256:${stdoutDigest}`,
];

/** The three lines of a command that was not run. */
export const refusalEvidence = (code: RefusalCode, backendId: string, profileId: string): string[] => [
  `refused:${code}`,
  `backend:${backendId}`,
  `sandbox:${profileId}`,
];

export const commandLine = (command: string, args: readonly string[]): string => [command, ...args].join(' ');

/**
 * Digest of what a command printed, as it comes. It is the SHA-256 of the text and not of the bytes: a runner's answer carries
 * text, so bytes that are not UTF-8 count as U+FFFD everywhere. A byte order mark is kept; nothing is trimmed.
 */
export class StdoutDigest {
  private readonly hash: Hash = createHash('sha256');
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  private digest: string | null = null;

  add(chunk: Uint8Array): void {
    this.hash.update(this.decoder.decode(chunk, { stream: true }), 'utf8');
  }

  /** `sha256:` and 64 lower-case hex digits. Nothing can be added after it. */
  end(): string {
    this.digest ??= `sha256:${this.hash.update(this.decoder.decode(), 'utf8').digest('hex')}`;
    return this.digest;
  }
}

/** The digest of text that came whole. */
export const textDigest = (text: string): string => `sha256:${createHash('sha256').update(text, 'utf8').digest('hex')}`;
