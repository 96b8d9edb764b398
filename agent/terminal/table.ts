/**
 * Tables of text for people. Cells may be styled: widths count what is seen.
 *
 * Pure. Programs read `--json` instead.
 */

import type { Terminal } from "./terminal.ts";

export interface Column {
  readonly title: string;
  /** Numbers stand to the right. Default left. */
  readonly align?: "left" | "right";
}

const GAP = "  ";

/** Lines with a heading, columns as wide as their widest cell; no trailing blanks. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  terminal: Terminal,
): string {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => visibleWidth(row[index] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, index) => pad(cells[index] ?? "", widths[index] ?? 0, align ?? "left"))
      .join(GAP)
      .trimEnd();
  const heading = terminal.style("bold", line(columns.map(({ title }) => title)));
  return `${[heading, ...rows.map(line)].join("\n")}\n`;
}

/** `name: value` lines with the values below each other. */
export function formatFields(
  fields: readonly (readonly [name: string, value: string])[],
  terminal: Terminal,
): string {
  const width = Math.max(0, ...fields.map(([name]) => name.length));
  return fields
    .map(([name, value]) => `${terminal.style("dim", pad(name, width, "left"))}${GAP}${value}\n`)
    .join("");
}

/** Characters that take a place on the line. */
export function visibleWidth(text: string): number {
  return [...stripStyles(text)].length;
}

/** The text without the sequences that terminal.ts puts around it. */
export function stripStyles(text: string): string {
  return text
    .split("\x1b[")
    .map((part, index) => (index === 0 ? part : part.replace(/^\d+m/, "")))
    .join("");
}

function pad(text: string, width: number, align: "left" | "right"): string {
  const blanks = " ".repeat(Math.max(0, width - visibleWidth(text)));
  return align === "left" ? text + blanks : blanks + text;
}
