import { describe, expect, it } from "vitest";
import type { Environment } from "../../../../agent/config/settings.ts";
import { formatFields, formatTable } from "../../../../agent/terminal/table.ts";
import { openTerminal, type Terminal } from "../../../../agent/terminal/terminal.ts";
import { displayWidth } from "../../../../agent/terminal/text-width.ts";
import { formatDuration } from "../../../../ipam/duration.ts";
import { withoutStyles } from "../../../support/cli.ts";

const terminal = (isTTY: boolean, environment: Environment = {}): Terminal =>
  openTerminal({ isTTY, columns: 80, write() {} }, environment);

describe("colours", () => {
  it.each<[string, Terminal, boolean]>([
    ["a terminal", terminal(true), true],
    ["a terminal with an empty NO_COLOR", terminal(true, { NO_COLOR: "" }), true],
    ["a terminal with NO_COLOR", terminal(true, { NO_COLOR: "1" }), false],
    ["a dumb terminal", terminal(true, { TERM: "dumb" }), false],
    ["a pipe", terminal(false), false],
  ])("%s", (_name, where, isColoured) => {
    const text = where.style("red", "x");
    expect(text).toBe(isColoured ? "\x1b[31mx\x1b[39m" : "x");
    expect(withoutStyles(text)).toBe("x");
  });

  it("only a terminal has a width", () => {
    expect(terminal(true).columns).toBe(80);
    expect(terminal(false).columns).toBeNull();
  });
});

describe("tables", () => {
  const columns = [{ title: "NAME" }, { title: "COUNT", align: "right" }, { title: "" }] as const;

  it("columns are as wide as what is seen in them, and lines end without blanks", () => {
    const where = terminal(true);
    const table = formatTable(
      columns,
      [
        [{ style: "red", text: "a" }, "1", ""],
        ["länger", "12", "x"],
      ],
      where,
    );
    expect(withoutStyles(table)).toBe("NAME    COUNT\na           1\nlänger     12  x\n");
  });

  it("missing cells are empty", () => {
    expect(formatTable(columns, [["a"]], terminal(false))).toBe("NAME  COUNT\na\n");
  });

  it("fields stand below each other", () => {
    expect(
      formatFields(
        [
          ["a", "1"],
          ["long", "2"],
        ],
        terminal(false),
      ),
    ).toBe("a     1\nlong  2\n");
    expect(formatFields([], terminal(false))).toBe("");
  });

  it.each([
    ["a character outside the basic plane", "a\u{1d11e}b", 3],
    ["a wide character", "漢字", 4],
    ["an emoji", "a\u{1f310}b", 4],
    ["a combining mark", "e\u0301", 1],
  ])("%s takes its places", (_name, text, places) => {
    expect(displayWidth(text)).toBe(places);
  });
});

describe("durations", () => {
  it.each([
    [0, "0 s"],
    [0.9, "0 s"],
    [59.9, "59 s"],
    [60, "1 min"],
    [86_399, "23 h 59 min"],
    [86_400, "1 d"],
    [90_061, "1 d 1 h"],
    [86_460, "1 d"],
  ])("%d s is %s", (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});
