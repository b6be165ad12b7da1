import { checkPolicyFile } from '../policy-check';
import { CommandFailed } from '../exit-codes';

/** `workloadd policy check` */
export async function runPolicyCheck(file: string): Promise<void> {
  const { ok, text } = await checkPolicyFile(file);
  console.log(text);
  if (!ok) throw new CommandFailed(`${file} is not a valid policy`);
}
