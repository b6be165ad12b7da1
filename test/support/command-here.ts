import { explain } from '../../cli/failure';
import type { CommandEnd } from './command-line';

/** Runs a command here, as its process would: a start of one costs a second. */
export async function here(command: () => Promise<void>): Promise<CommandEnd> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['log', 'error'] as const).map((name) =>
    jest
      .spyOn(console, name)
      .mockImplementation(
        (...said: unknown[]) => void (printed[name === 'log' ? 'stdout' : 'stderr'] += `${String(said[0])}\n`),
      ),
  );
  try {
    await command();
    return { code: 0, ...printed };
  } catch (error) {
    const { text, code } = explain(error);
    return { code, stdout: printed.stdout, stderr: `${printed.stderr}${text}\n` };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
