/** Units, command lines and environment files, read as systemd reads them. */

import { describe, expect, it } from "vitest";
import { expandWord, splitWords } from "../../../../agent/docker/command-line.ts";
import { parseEnvironmentFile, parseUnit } from "../../../../agent/docker/unit-file.ts";

const assignments = (text: string) =>
  parseUnit({ path: "unit", text }).map(({ section, key, value }) => `${section}.${key}=${value}`);

describe("a unit", () => {
  it.each<[string, string, string[]]>([
    ["spaces around the sign", "[A]\n k  =  v w \n", ["A.k=v w"]],
    ["continued lines", "[A]\nk=a \\\n  b \\\n  c\nl=d", ["A.k=a    b    c", "A.l=d"]],
    ["comments inside continued lines", "[A]\nk=a \\\n# no \\\n;no\n b\n", ["A.k=a   b"]],
    ["an empty line that ends a continuation", "[A]\nk=a \\\n\nl=b\n", ["A.k=a", "A.l=b"]],
    ["a backslash that is escaped", "[A]\nk=a\\\\\nl=b\n", ["A.k=a\\\\", "A.l=b"]],
    ["a continuation at the end of the file", "[A]\nk=a \\", ["A.k=a"]],
    ["line ends of DOS", "[A]\r\nk=a \\\r\n b\r\n", ["A.k=a   b"]],
    ["values with signs", "[A]\nEnvironment=X=1 Y=2\n", ["A.Environment=X=1 Y=2"]],
    ["empty values and sections", "[A]\nk=\n[B]\nk=b\n", ["A.k=", "B.k=b"]],
    ["lines without a sign", "[A]\nnonsense\nk=v\n", ["A.k=v"]],
  ])("with %s", (_, text, expected) => {
    expect(assignments(text)).toEqual(expected);
  });
});

describe("words", () => {
  it.each<[string, string[]]>([
    ["a  b\tc", ["a", "b", "c"]],
    [`"a b" 'c d' e"f g"h`, ["a b", "c d", "ef gh"]],
    [String.raw`"a\"b" 'c\'d' e\sf \x41 \101 \t`, ['a"b', "c'd", "e f", "A", "A", "\t"]],
    [String.raw`a\qb`, [String.raw`a\qb`]],
    ["", []],
    ['""', [""]],
  ])("of %s", (value, expected) => {
    expect(splitWords(value).map(({ text }) => text)).toEqual(expected);
    expect(
      splitWords(value)
        .map(({ raw }) => raw)
        .join(" "),
    ).toBe(value.trim().replace(/\s+/g, " "));
  });

  it("with a quote that has no end are refused, and taken as they are in a variable", () => {
    expect(() => splitWords(`a "b c`)).toThrow(/a quote has no end in "b c/);
    expect(splitWords(`a "b c`, true).map(({ text }) => text)).toEqual(["a", '"b c']);
  });

  it.each<[string, string[]]>([
    ["$TWO", ["a", "b c"]],
    [`\${TWO}`, ["a 'b c'"]],
    [`x\${ONE}y`, ["x1y"]],
    ["x$ONE", ["x$ONE"]],
    ["$NONE", []],
    [`x\${NONE}`, ["x"]],
    ["$$ONE", ["$ONE"]],
    ["100%%", ["100%"]],
  ])("with variables: %s", (text, expected) => {
    const variables = new Map([
      ["ONE", "1"],
      ["TWO", "a 'b c'"],
    ]);
    expect(expandWord(text, variables)).toEqual(expected);
  });
});

describe("an environment file", () => {
  it.each<[string, string, string | undefined]>([
    ["plain", "X=a b  \n", "a b"],
    ["double quotes", 'X="a \\"b\\" \\n"\n', 'a "b" \\n'],
    ["single quotes", "X='a \"b\"'\n", 'a "b"'],
    ["a continued line", "X=a \\\n b\n", "a  b"],
    ["a comment", "#X=no\n ; X=no\n", undefined],
    ["the last of two", "X=a\nX=b\n", "b"],
    ["lines inside quotes", 'Y="\nX=no\n"\nX=yes\n', "yes"],
    ["export, which systemd does not know", "export X=a\n", undefined],
  ])("with %s", (_, text, expected) => {
    expect(parseEnvironmentFile(text).get("X")).toBe(expected);
  });

  it("of a shell script", () => {
    const text = `export X="--a"\nX="$X \${X} --b"\n`;
    expect(parseEnvironmentFile(text, true).get("X")).toBe("--a --a --b");
  });
});
