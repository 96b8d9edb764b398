/** Text in place of what a terminal's screen shows: as much as fits, without scrolling. Pure. */

import { displayWidth } from "./text-width.ts";

export interface ScreenSize {
  readonly rows: number;
  readonly columns: number;
}

const TAB_WIDTH = 8;
/** Parameters of styles take no place (ECMA-48, 8.3.117). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences begin with one
const STYLE = /\x1b\[[\d;]*m/g;
/**
 * Writes over what is there, so that nothing flickers: home, each line to its end, the rest of the screen (ECMA-48).
 * `size` is null where it is not known; then nothing is left out.
 */
export function overScreen(text: string, size: ScreenSize | null): string {
  const lines = fitting(text.replace(/\n$/, "").split("\n"), size);
  const written = lines.map((line) => (endsAtMargin(line, size) ? line : `${line}\x1b[K`));
  return `\x1b[H${written.join("\n")}\n\x1b[J`;
}

/** The first lines, and how many more there are. The last row is the cursor's: a line break there would scroll. */
function fitting(lines: readonly string[], size: ScreenSize | null): readonly string[] {
  if (size === null) return lines;
  let room = size.rows - 1;
  if (sum(lines.map((line) => rowsOf(line, size))) <= room) return lines;
  room -= 1;
  const shown: string[] = [];
  for (const line of lines) {
    room -= rowsOf(line, size);
    if (room < 0) break;
    shown.push(line);
  }
  const note = `… ${lines.length - shown.length} more lines: enlarge the window`;
  return [...shown, note.slice(0, Math.max(1, size.columns - 1))];
}

/** After a character in the last column, erasing to the end of the line would erase that character. */
function endsAtMargin(line: string, size: ScreenSize | null): boolean {
  const width = widthOf(line);
  return size !== null && width > 0 && width % size.columns === 0;
}

function rowsOf(line: string, { columns }: ScreenSize): number {
  return Math.max(1, Math.ceil(widthOf(line) / columns));
}

function widthOf(line: string): number {
  const plain = line.replace(STYLE, "");
  const tabs = plain.split("\t").length - 1;
  return displayWidth(plain) + tabs * (TAB_WIDTH - 1);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
