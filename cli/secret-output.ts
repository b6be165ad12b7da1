import { accessSync, constants } from 'node:fs';
import path from 'node:path';
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
  if (out !== undefined) return refuseUnlessWritable(path.dirname(out));
  if (print) return;
  throw new CommandFailed('say where the secret goes: --out FILE (mode 0600), or --print for stdout', EXIT.usage);
}

function refuseUnlessWritable(folder: string): void {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new CommandFailed(`--out: the folder ${folder} cannot be written to (${code}); nothing was made`, EXIT.usage);
  }
}

/** Hands the secret over, and says where it is; says nothing of a file when it has no name. */
export function handOut(secret: Secret, { out }: SecretOutput, what: string | null): void {
  if (out === undefined) {
    console.log(secret.reveal());
    return;
  }
  writeSecretFile(out, secret);
  if (what !== null) console.log(`${what} is in ${out}`);
}
