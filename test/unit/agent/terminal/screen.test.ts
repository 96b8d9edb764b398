/** What is shown in place of what the screen shows. */

import { describe, expect, it } from "vitest";
import { overScreen } from "../../../../agent/terminal/screen.ts";
import { openTerminal } from "../../../../agent/terminal/terminal.ts";

const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";
const lines = (count: number): string => Array.from({ length: count }, (_, at) => `line ${at}\n`).join("");
/** The lines that a screen of this size gets. */
const shown = (text: string, rows: number, columns = 80): readonly string[] =>
  overScreen(text, { rows, columns })
    .slice(HOME.length, -CLEAR_BELOW.length - 1)
    .replaceAll(CLEAR_LINE, "")
    .split("\n");

describe("text over the screen", () => {
  it("erases the rest of each line and of the screen", () => {
    const expected = `${HOME}a${CLEAR_LINE}\n${CLEAR_LINE}\nb${CLEAR_LINE}\n${CLEAR_BELOW}`;
    expect(overScreen("a\n\nb\n", { rows: 24, columns: 80 })).toBe(expected);
    expect(overScreen("a\n\nb\n", null)).toBe(expected);
  });

  it("leaves the last row to the cursor", () => {
    expect(shown(lines(9), 10)).toHaveLength(9);
    expect(shown(lines(9), 10).at(-1)).toBe("line 8");
    expect(shown(lines(10), 10)).toHaveLength(9);
    expect(shown(lines(10), 10).at(-1)).toBe("… 2 more lines: enlarge the window");
    expect(shown(lines(100), 10).at(-1)).toBe("… 92 more lines: enlarge the window");
  });

  it.each([
    ["long", "x".repeat(100)],
    ["styled", `\x1b[31m${"x".repeat(100)}\x1b[39m`],
    ["wide", "漢".repeat(41)],
  ])("counts a %s line that takes two rows", (_, line) => {
    expect(shown(`${line}\n${lines(7)}`, 10)).toHaveLength(8);
    expect(shown(`${line}\n${lines(8)}`, 10)).toEqual([
      line,
      ...lines(6).trim().split("\n"),
      "… 2 more lines: enlarge the window",
    ]);
  });

  it("keeps the last character of a line that ends at the margin", () => {
    const full = "x".repeat(80);
    expect(overScreen(`${full}\n`, { rows: 24, columns: 80 })).toBe(`${HOME}${full}\n${CLEAR_BELOW}`);
  });

  it.each([1, 2, 3])("fits a window of %i rows", (rows) => {
    const text = overScreen(lines(5), { rows, columns: 10 });
    expect(text.split("\n").length - 1).toBe(Math.max(1, rows - 1));
    expect(Math.max(...shown(lines(5), rows, 10).map(({ length }) => length))).toBeLessThan(10);
  });
});

describe("the size of a terminal", () => {
  const fake = () => {
    const listeners = new Set<() => void>();
    const stream = {
      ...{ isTTY: true, rows: 10, columns: 80, text: "" },
      write(text: string): void {
        stream.text = text;
      },
      on: (_: "resize", listener: () => void) => listeners.add(listener),
      off: (_: "resize", listener: () => void) => listeners.delete(listener),
    };
    return { stream, listeners };
  };

  it("is the one that it has when text is shown", () => {
    const { stream } = fake();
    const terminal = openTerminal(stream, {});
    terminal.showInstead(lines(30));
    expect(stream.text).toContain("… 22 more lines");
    stream.rows = 20;
    terminal.showInstead(lines(30));
    expect(stream.text).toContain("… 12 more lines");
    stream.rows = 0;
    terminal.showInstead(lines(30));
    expect(stream.text).toContain("line 29");
  });

  it("is followed until the signal fires", () => {
    const { stream, listeners } = fake();
    const stop = new AbortController();
    let calls = 0;
    openTerminal(stream, {}).followSize(() => {
      calls += 1;
    }, stop.signal);
    for (const listener of listeners) listener();
    expect(calls).toBe(1);
    stop.abort();
    expect(listeners.size).toBe(0);
  });
});
