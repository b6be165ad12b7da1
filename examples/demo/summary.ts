import type { Result } from './run-examples';
import { formatTable, stateCell, styled, type Cell } from './text-table';

/** The whole demo in one object: the last line of `--json`. */
export interface Totals {
  events: number;
  /** By decision. */
  decisions: Record<string, number>;
  /** By end state. */
  outcomes: Record<string, number>;
  /** Every event ended as its file says. */
  ok: boolean;
}

/** Counts decisions and ends. */
export function totalsOf(results: readonly Result[]): Totals {
  return {
    events: results.length,
    decisions: countBy(results, ({ record }) => record?.decision?.decision ?? 'none'),
    outcomes: countBy(results, ({ record }) => record?.state ?? 'none'),
    ok: results.every(({ problems }) => problems.length === 0),
  };
}

function countBy(results: readonly Result[], keyOf: (result: Result) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const result of results) counts[keyOf(result)] = (counts[keyOf(result)] ?? 0) + 1;
  return counts;
}

/** The table of all events at their end, and the counts. */
export function summaryLines(results: readonly Result[], width: number, colours: boolean): string[] {
  const head: Cell[] = ['AS EXPECTED', 'EVENT', 'DECISION', 'STATE', 'DELIVERIES', 'REASON'];
  const rows = results.map(({ example, record, problems }): Cell[] => [
    problems.length === 0 ? { text: '✓', style: 'green' } : { text: '✗', style: 'red' },
    example.posts > 1 ? `${example.name} (posted ${example.posts}×)` : example.name,
    record?.decision?.decision ?? '',
    stateCell(record?.state ?? null),
    String(record?.delivery ?? ''),
    record?.reason ?? '',
  ]);
  const { decisions, outcomes, ok } = totalsOf(results);
  const wrong = results.filter(({ problems }) => problems.length > 0);
  const verdict = ok
    ? `All ${results.length} events ended as their files say.`
    : `${wrong.length} of ${results.length} events did not end as their files say:`;
  return [
    ...formatTable([head, ...rows], width, colours),
    '',
    `Decisions: ${counts(decisions)}`,
    `Outcomes:  ${counts(outcomes)}`,
    '',
    colours ? styled(ok ? 'green' : 'red', verdict) : verdict,
    ...wrong.map(({ example, problems }) => `  ✗ ${example.name}: ${problems.join('; ')}`),
  ];
}

const counts = (by: Record<string, number>): string =>
  Object.entries(by)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');

/** Seconds from the start of the demo to the first end of a workload that OpenCrow worked on, and to the last end. */
export function paceOf(results: readonly Result[], startedAt: number): { firstEnd: number; lastEnd: number } | null {
  const ends = results
    .filter(({ record }) => record?.ended_at && record.delivery > 0)
    .map(({ record }) => (Date.parse(record!.ended_at!) - startedAt) / 1000);
  return ends.length === 0 ? null : { firstEnd: Math.min(...ends), lastEnd: Math.max(...ends) };
}

/** Where to look next. */
export interface Addresses {
  apiUrl: string;
  tokenFile: string;
  temporalUiUrl: string;
}

/** The last words: what is still there, and what to try on it. */
export function nextSteps(results: readonly Result[], addresses: Addresses, kept: boolean): string[] {
  const { apiUrl, tokenFile, temporalUiUrl } = addresses;
  const eventful = results.find(({ record }) => (record?.delivery ?? 0) > 1) ?? results[0];
  const bearer = `-H "Authorization: Bearer $(cat ${tokenFile})"`;
  const look = kept ? '' : ' (gone with this run: `npm run demo -- --keep` leaves it up)';
  return [
    `Temporal Web UI: ${temporalUiUrl}${look}`,
    kept
      ? 'Everything is still up; Ctrl-C stops and removes it. Next:'
      : 'Next, with --keep and the addresses it prints:',
    `  curl -s ${bearer} '${apiUrl}/api/workloads?state=lost'`,
    `  curl -s ${bearer} ${apiUrl}/api/workloads/${eventful?.record?.workload_id ?? ''}`,
    `  curl -s ${bearer} -H 'Content-Type: application/json' -H 'Prefer: wait=5' \\`,
    `    -d '{"source":"rss","action":"triage","event_id":"try-1","data":{"entry_id":7,"category":"Security"}}' ${apiUrl}/api/events`,
  ];
}
