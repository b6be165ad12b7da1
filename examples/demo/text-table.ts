import { styleText } from 'node:util';
import type { WorkloadState } from '../../contracts/terminology';

type Style = Parameters<typeof styleText>[0];

/** One cell: its text, and how it looks. */
export type Cell = string | { text: string; style: Style };

const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text);

/** Lines of a table with columns as wide as their longest cell; lines are cut at `width` characters. */
export function formatTable(rows: readonly (readonly Cell[])[], width: number, colours: boolean): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, textOf(cell).length);
  }
  return rows.map((row) => {
    let left = width;
    return row
      .map((cell, column) => {
        const last = column === row.length - 1;
        const text = (last ? textOf(cell) : `${textOf(cell).padEnd(widths[column]!)}  `).slice(0, Math.max(0, left));
        left -= text.length;
        return colours && typeof cell !== 'string' ? styled(cell.style, text) : text;
      })
      .join('')
      .trimEnd();
  });
}

/** A text in a style, whatever the stream; the caller knows whether colours are wanted. */
export const styled = (style: Style, text: string): string => styleText(style, text, { validateStream: false });

/** Whether to colour what is written to a stream. */
export const wantsColours = (stream: NodeJS.WriteStream): boolean => stream.isTTY && !process.env['NO_COLOR'];

const STYLES: Partial<Record<WorkloadState, Style>> = {
  running: 'cyan',
  delivered: 'cyan',
  held: 'yellow',
  preempted: 'yellow',
  lost: 'magenta',
  completed: 'green',
  failed: 'red',
  aborted: 'red',
  refused: 'red',
  denied: 'red',
};

/** A state in its colour. */
export const stateCell = (state: WorkloadState | null): Cell => ({
  text: state ?? '',
  style: (state && STYLES[state]) ?? 'dim',
});
