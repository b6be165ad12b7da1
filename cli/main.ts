import { secretInArguments, unknownVariables } from './config';
import { CommandFailed, EXIT } from './exit-codes';
import { explain } from './failure';
import { buildProgram } from './program';
import { serviceVersion } from './version';

async function main(args: readonly string[]): Promise<number> {
  try {
    const leak = secretInArguments(args);
    if (leak !== null) throw new CommandFailed(leak, EXIT.usage);
    for (const name of unknownVariables(process.env))
      console.error(`warning: nothing reads the variable ${name}; see docs/configuration.md`);
    await buildProgram(serviceVersion()).parseAsync([...args], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    const { text, code } = explain(error);
    if (text !== '') console.error(text);
    return code;
  }
}

// Native handles of Temporal's runtime would keep a finished command running.
void main(process.argv.slice(2)).then((code) => process.exit(code));
