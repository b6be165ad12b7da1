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

/** Runs `task` `count` times, at most `inFlight` at once; returns each duration and the whole time, milliseconds. */
export async function closedLoop(
  count: number,
  inFlight: number,
  task: () => Promise<void>,
): Promise<{ durations: number[]; elapsed: number }> {
  const durations: number[] = [];
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const start = performance.now();
      await task();
      durations.push(performance.now() - start);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: inFlight }, lane));
  return { durations, elapsed: performance.now() - start };
}
