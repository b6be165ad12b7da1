/** A sorted sample of durations in milliseconds. */
export interface Sample {
  count: number;
  p50: number;
  p95: number;
  p99: number;
}

export function sampleOf(durations: readonly number[]): Sample {
  const sorted = [...durations].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { count: sorted.length, p50: round(at(0.5)), p95: round(at(0.95)), p99: round(at(0.99)) };
}

export const median = (values: readonly number[]): number => sampleOf(values).p50;

export const round = (value: number, digits = 2): number => Number(value.toFixed(digits));

/** Runs `task` `count` times, at most `inFlight` at once, one in each lane; returns each duration and the whole time, milliseconds. */
export async function closedLoop(
  count: number,
  inFlight: number,
  task: (lane: number) => Promise<void>,
): Promise<{ durations: number[]; elapsed: number }> {
  const durations: number[] = [];
  let left = count;
  const run = async (_: unknown, lane: number): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const start = performance.now();
      await task(lane);
      durations.push(performance.now() - start);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: inFlight }, run));
  return { durations, elapsed: performance.now() - start };
}

/** Something done twice: as anybody would, and by us. `lane` is which of those under way it is. */
export interface Pair {
  bare: (lane: number) => Promise<unknown>;
  ours: (lane: number) => Promise<unknown>;
}

/** What {@link interleaved} measured. */
export interface PairSample {
  bare: Sample;
  ours: Sample;
}

/** Times both, a round of one and a round of the other in turn, `inFlight` at once, after a warm-up. */
export async function interleaved(
  { bare, ours }: Pair,
  { rounds, perRound, warmUp, inFlight }: { rounds: number; perRound: number; warmUp: number; inFlight: number },
): Promise<PairSample> {
  const times = { bare: [] as number[], ours: [] as number[] };
  const run = async (work: Pair['bare'], count: number): Promise<number[]> =>
    (await closedLoop(count, inFlight, async (lane) => void (await work(lane)))).durations;
  await run(bare, warmUp);
  await run(ours, warmUp);
  for (let index = 0; index < rounds; index += 1) {
    times.bare.push(...(await run(bare, perRound)));
    times.ours.push(...(await run(ours, perRound)));
  }
  return { bare: sampleOf(times.bare), ours: sampleOf(times.ours) };
}

/** One line: both samples and their ratios. */
export function pairLine(name: string, names: { bare: string; ours: string }, { bare, ours }: PairSample): string {
  return [
    `${name}  ${names.ours} p50 ${ours.p50} ms, p99 ${ours.p99} ms`,
    `${names.bare} p50 ${bare.p50} ms, p99 ${bare.p99} ms`,
    `ratio p50 ${round(ours.p50 / bare.p50)}, p99 ${round(ours.p99 / bare.p99)}`,
  ].join('; ');
}
