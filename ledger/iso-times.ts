/** A record whose times (`Times`) are as the database gives them. */
export type RowOf<T, Times extends keyof T> = Omit<T, Times> & {
  [Name in Times]: null extends T[Name] ? Date | null : Date;
};

/** The record of a row: its times as ISO 8601 texts. */
export const withIsoTimes = <T extends object, Times extends keyof T>(row: RowOf<T, Times>): T =>
  Object.fromEntries(
    Object.entries(row as Record<string, unknown>).map(([name, value]) => [
      name,
      value instanceof Date ? value.toISOString() : value,
    ]),
  ) as T;
