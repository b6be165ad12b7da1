import { condition, proxyActivities, setHandler } from '@temporalio/workflow';
import { progress } from './signals';

const { work } = proxyActivities<{ work(): Promise<string> }>({ startToCloseTimeout: '1 minute' });

/** What anybody would write first: one activity, two signals, no ledger. */
export async function bare(): Promise<string> {
  const heard: string[] = [];
  setHandler(progress, (status) => void heard.push(status));
  await work();
  await condition(() => heard.length >= 2);
  return heard[1]!;
}
