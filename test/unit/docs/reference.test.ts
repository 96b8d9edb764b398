import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { helpText, referenceTables } from "../../../agent/config/flag-help.ts";
import { environmentName, FLAG_NAMES } from "../../../agent/config/flags.ts";
import { METRICS } from "../../../agent/report/metrics.ts";
import { ERROR_CODES } from "../../../ipam/errors.ts";

const read = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), "utf8");
const headings = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name);

describe("the documents and the code name the same things", () => {
  it("docs/configuration.md holds the flag table", () => {
    const [, table] = read("configuration.md").split("<!-- flags: made from agent/config/flags.ts -->\n\n");
    expect(table).toBe(referenceTables());
  });

  it("docs/metrics.md has a row for every metric, with its type and meaning", () => {
    const rows = Object.entries(METRICS).map(
      ([name, { type, labels, help }]) => `| \`${name}\` | ${type} | ${labels.join(", ")} | ${help} |`,
    );
    expect(read("metrics.md").match(/^\| `.*$/gm)).toEqual(rows);
  });

  it("docs/performance.md has a row for every benchmark", () => {
    const files = readdirSync(new URL("../../bench", import.meta.url)).filter((name) => name.endsWith(".ts"));
    const benches = files.map((name) => name.slice(0, -3)).filter((name) => name !== "main");
    const rows = read("performance.md").match(/^\| `[a-z-]+`.* \|/gm) ?? [];
    const named = rows.flatMap((row) => headings(row.split(" | ")[0] ?? "", /`([a-z-]+)`/g));
    expect(named).toEqual(expect.arrayContaining(benches));
  });

  it("docs/errors.md has a section for every code", () => {
    expect(headings(read("errors.md"), /^### (\S+)$/gm).sort()).toEqual(Object.keys(ERROR_CODES).sort());
  });

  it("--help names every flag, in lines that fit", () => {
    const lines = helpText().split("\n");
    for (const name of FLAG_NAMES)
      expect(lines.some((line) => line.split(" ")[2] === `--${name}`)).toBe(true);
    expect(lines.filter((line) => line.length > 110)).toEqual([]);
  });

  it("no two flags share a variable", () => {
    expect(new Set(FLAG_NAMES.map(environmentName)).size).toBe(FLAG_NAMES.length);
  });
});
