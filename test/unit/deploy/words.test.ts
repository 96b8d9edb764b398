import { describe, expect, it } from "vitest";
import { commentLines, findPhrases } from "../../../deploy/words/check.mjs";

const found = (file: string, text: string): readonly string[] =>
  findPhrases(commentLines(file, text)).map(({ line, phrase }) => `${line} ${phrase}`);

describe("phrases that texts must not use", () => {
  it.each([
    ["a line comment", "const x = 1; // asked anew\n", ["1 anew"]],
    ["a doc comment", "/** Whoever holds it. */", ["1 Whoever"]],
    ["a block", "/*\n * Fine.\n * No affair of ours.\n */\nanew();", ["3 affair"]],
    ["a phrase over a line break", "/**\n * It ends by\n * itself.\n */", ["2 by itself"]],
    ["a negated noun", "// it is no peer", ["1 is no peer"]],
    ["several in one line", "// somebody knocks", ["1 somebody", "1 knocks"]],
  ])("are found in %s", (_name, text, expected) => {
    expect(found("a.ts", text)).toEqual(expected);
  });

  it.each([
    ["code", "const anew = whoever();"],
    ["strings", 'throw new Error("anew");'],
    ["quotations in comments", '// the kernel says "nobody", and `anew` is a name'],
    ["fixed expressions", "// it is no longer there; there is no need"],
    ["a URL in a string", 'const url = "https://anew.example/whoever";'],
    ["parts of words", "// the renewal of the likely affairless"],
  ])("are not looked for in %s", (_name, text) => {
    expect(found("a.ts", text)).toEqual([]);
  });

  it("are found in documents, but for their code", () => {
    const text = "# Title\n\nIt starts anew.\n\n```sh\nanew\n```\n\nUse `anew` or whatever happens.\n";
    expect(found("a.md", text)).toEqual(["3 anew", "9 whatever happens"]);
  });

  it("are found in comments of units and scripts", () => {
    expect(found("a.service", "# started anew\nExecStart=/bin/anew\n")).toEqual(["1 anew"]);
    expect(found("a.sh", "#!/bin/anew\n# for nobody\n")).toEqual(["2 nobody"]);
  });
});
