import type { Database } from '../ledger/database';
import type { ConfigOf } from './config';
import { explain } from './failure';
import { withLedger } from './ledger-access';
import { intervalOf, watchRounds } from './watch';

/** What a command found or did: for people, and as one JSON object for programs. */
export interface Report {
  text: string;
  json: object;
}

/** How a report is to be shown. */
export interface ReportArguments {
  /** As one JSON object, and nothing else on stdout. */
  json?: boolean | undefined;
  /** Again and again: a duration, or `true` for every 2 s. */
  watch?: string | true | undefined;
}

/** Prints a report on stdout. */
export const print = ({ text, json }: Report, asJson = false): void =>
  console.log(asJson ? JSON.stringify(json) : text);

/** Prints what `report` finds in the ledger, once or until Ctrl-C. */
export async function showReport(
  config: ConfigOf<'migrate'>,
  { json = false, watch }: ReportArguments,
  report: (db: Database) => Promise<Report>,
): Promise<void> {
  const intervalMs = intervalOf(watch);
  await withLedger(config, async (db) => {
    if (intervalMs === undefined) return print(await report(db), json);
    const round = async () => {
      const found = await report(db);
      return json ? JSON.stringify(found.json) : found.text;
    };
    await watchRounds(round, { intervalMs, plain: json, failureText: (error) => explain(error).text });
  });
}
