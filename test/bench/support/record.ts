/**
 * `--record`: keeps figures in docs/performance/figures.json and puts the tables of docs/performance.md, between their
 * marks, in line with them. A run of some benchmarks leaves the figures of the others as they are.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type Summary, show } from "./report.ts";
import { TARGETS } from "./targets.ts";

const FILE = "docs/performance/figures.json";
const PAGE = "docs/performance.md";

interface Recorded {
  readonly machine: string;
  /** By benchmark, then by name. */
  readonly figures: Record<string, Record<string, Summary>>;
}

/** Merges what a run measured into the file, and renews the page. */
export function record(machine: string, measured: ReadonlyMap<string, readonly Summary[]>): void {
  const figures = existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Recorded).figures : {};
  for (const [bench, summaries] of measured) {
    figures[bench] = Object.fromEntries(summaries.map((summary) => [summary.name, summary]));
  }
  mkdirSync(dirname(FILE), { recursive: true });
  writeFileSync(FILE, `${JSON.stringify({ machine, figures }, null, 2)}\n`);
  const page = [
    ["machine", `${machine}.`],
    ["targets", targetTable(figures)],
    ["figures", figureTables(figures)],
  ].reduce((text, [mark = "", content = ""]) => between(text, mark, content), readFileSync(PAGE, "utf8"));
  writeFileSync(PAGE, page);
}

/** Replaces what stands between `<!-- mark -->` and `<!-- end -->`. */
function between(text: string, mark: string, content: string): string {
  const start = text.indexOf(`<!-- ${mark} -->`);
  const end = text.indexOf("<!-- end -->", start);
  if (start < 0 || end < 0) throw new Error(`${PAGE} has no marks for "${mark}"`);
  return `${text.slice(0, start)}<!-- ${mark} -->\n${content}\n${text.slice(end)}`;
}

function targetTable(figures: Recorded["figures"]): string {
  const rows = TARGETS.map(({ measure, flanneld, aim, figures: sought }) => {
    const values = sought.map(({ bench, name, p99 }) => {
      const found = figures[bench]?.[name];
      return found === undefined ? "?" : quantity(p99 ? found.p99 : found.median, found.unit);
    });
    return [measure, flanneld, aim, values.join(" · ")];
  });
  return table(["measure", "flanneld", "aim", "tulled"], rows);
}

function figureTables(figures: Recorded["figures"]): string {
  return Object.entries(figures)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([bench, summaries]) => {
      const rows = Object.values(summaries).map(({ name, unit, median, p99, n }) => [
        name,
        quantity(median, unit),
        n === 1 ? "" : quantity(p99, unit),
        String(n),
      ]);
      return `### ${bench}\n\n${table(["figure", "median", "p99", "n"], rows)}`;
    })
    .join("\n\n");
}

function quantity(value: number | null, unit: Summary["unit"]): string {
  if (value === null) return "none";
  return unit === "ms" && value >= 1000 ? `${show(value / 1000)} s` : `${show(value)} ${unit}`.trim();
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  return [heading, heading.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
