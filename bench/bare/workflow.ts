import { condition, proxyActivities, setHandler } from '@temporalio/workflow';
import { progress } from './signals';

const { work, runTrue } = proxyActivities<{ work(): Promise<string>; runTrue(): Promise<number | null> }>({
  startToCloseTimeout: '1 minute',
});

/** What anybody would write first: one activity, two signals, no ledger. */
export async function bare(): Promise<string> {
  const heard: string[] = [];
  setHandler(progress, (status) => void heard.push(status));
  await work();
  await condition(() => heard.length >= 2);
  return heard[1]!;
}

/** What anybody would write first to run a command: one activity that starts it. */
export async function bareCommand(): Promise<number | null> {
  return runTrue();
}
