/**
 * Tables of text for people. Cells are escaped and bounded here, so that a value from a store stays in its cell.
 *
 * Pure. Programs read `--json` instead.
 */

import { escapeText } from "../../ipam/escape.ts";
import { SENTENCE_LIMIT } from "./error-line.ts";
import type { StyledText, Terminal } from "./terminal.ts";
import { displayWidth } from "./text-width.ts";

export interface Column {
  readonly title: string;
  /** Right for numbers. Default left. */
  readonly align?: "left" | "right";
}

/** A cell's text, which may be styled. */
export type Cell = string | StyledText;

const GAP = "  ";
/** Longest cell of a table, in UTF-16 units: two IPv6 addresses and more fit. */
const CELL_LIMIT = 100;

/** Lines with a heading, columns as wide as their widest cell; no trailing blanks. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  terminal: Terminal,
): string {
  const titles = columns.map(({ title }) => title);
  const cells = rows.map((row) => columns.map((_, index) => bounded(row[index] ?? "", CELL_LIMIT)));
  const widths = titles.map((title, index) =>
    cells.reduce(
      (widest, row) => Math.max(widest, displayWidth(row[index]?.text ?? "")),
      displayWidth(title),
    ),
  );
  const line = (row: readonly BoundedCell[]): string =>
    row
      .map((cell, index) => aligned(cell, widths[index] ?? 0, columns[index]?.align ?? "left", terminal))
      .join(GAP)
      .trimEnd();
  const heading = line(titles.map((text) => ({ style: null, text })));
  return `${[terminal.style("bold", heading), ...cells.map(line)].join("\n")}\n`;
}

/** `name: value` lines with the values below each other. */
export function formatFields(
  fields: readonly (readonly [name: string, value: Cell])[],
  terminal: Terminal,
): string {
  const width = fields.reduce((widest, [name]) => Math.max(widest, displayWidth(name)), 0);
  return fields
    .map(([name, value]) => {
      const label = aligned({ style: "dim", text: name }, width, "left", terminal);
      return `${label}${GAP}${aligned(bounded(value, SENTENCE_LIMIT), 0, "left", terminal)}\n`;
    })
    .join("");
}

interface BoundedCell {
  readonly style: StyledText["style"] | null;
  readonly text: string;
}

function bounded(cell: Cell, limit: number): BoundedCell {
  const { style, text } = typeof cell === "string" ? { style: null, text: cell } : cell;
  return { style, text: escapeText(text, limit) };
}

function aligned(
  { style, text }: BoundedCell,
  width: number,
  align: "left" | "right",
  terminal: Terminal,
): string {
  const blanks = " ".repeat(Math.max(0, width - displayWidth(text)));
  const shown = style === null ? text : terminal.style(style, text);
  return align === "left" ? shown + blanks : blanks + shown;
}
