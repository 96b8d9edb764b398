/** Lines of text on a narrow terminal. */

import { describe, expect, it } from "vitest";
import { wrapLines } from "../../../../agent/terminal/wrap.ts";

describe("lines that are longer than a terminal", () => {
  const wrap = (width: number, ...lines: readonly string[]): readonly string[] =>
    wrapLines(lines.join("\n"), width).split("\n");

  it("are left alone where they fit", () => {
    const lines = ["Usage: x", "", "  -a  b", "1234567890", ""];
    expect(wrap(10, ...lines)).toEqual(lines);
  });

  it("go on in the next line of their paragraph", () => {
    expect(wrap(10, "one two three", "four five.", "", "six seven eight", "", "nine")).toEqual([
      ...["one two", "three four", "five.", "", "six seven", "eight", "", "nine"],
    ]);
  });

  it("end with a sentence", () => {
    expect(wrap(10, "one two three.", "Exit code")).toEqual(["one two", "three.", "Exit code"]);
  });

  it("keep the indentation of lists and tables", () => {
    expect(
      wrap(12, "  - one two three", "    four", "  - five six seven", "  - eight", "  -x  nine ten"),
    ).toEqual([
      ...["  - one two", "    three", "    four"],
      ...["  - five six", "    seven", "  - eight", "  -x  nine", "  ten"],
    ]);
  });

  it("keep words that are longer", () => {
    expect(wrap(5, "a https://long/ b")).toEqual(["a", "https://long/", "b"]);
    expect(wrap(5, "    abcdefgh")).toEqual(["    abcdefgh"]);
  });
});
