import type { Secret } from '../contracts/secret';
import { writeSecretFile } from '../workers/secret-file';
import { CommandFailed, EXIT } from './exit-codes';

/** Where a command puts a secret it made. */
export interface SecretOutput {
  /** A file, made with mode 0600. */
  out?: string | undefined;
  /** On stdout, alone. */
  print?: boolean | undefined;
}

/** Refuses before anything is made: a secret that nobody sees would be lost. */
export function requireOutput({ out, print }: SecretOutput): void {
  if (out !== undefined || print) return;
  throw new CommandFailed('say where the secret goes: --out FILE (mode 0600), or --print for stdout', EXIT.usage);
}

/** Hands the secret over, and says where it is. */
export function handOut(secret: Secret, { out }: SecretOutput, what: string): void {
  if (out === undefined) {
    console.log(secret.reveal());
    return;
  }
  writeSecretFile(out, secret);
  console.log(`${what} is in ${out}`);
}
