/** Each exported value of the product is used in another file: what only its own file uses is private, the rest is dead. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

/** Files that are not yet added count too. */
const LISTING = ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts", "*.mjs", "*.cjs"];

const EXPORTED = /^export (?:async )?(?:function\*?|const|class) (\w+)/gm;

/** Words of the code; those of comments do not use anything. */
function wordsIn(code: string): ReadonlySet<string> {
  return new Set(code.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*/gm, "").match(/\w+/g) ?? []);
}

function unusedExports(files: ReadonlyMap<string, string>): readonly string[] {
  const users = new Map<string, Set<string>>();
  for (const [file, code] of files)
    for (const word of wordsIn(code)) users.set(word, (users.get(word) ?? new Set()).add(file));
  return [...files].flatMap(([file, code]) =>
    [...code.matchAll(EXPORTED)].flatMap(([, name = ""]) => {
      const others = [...(users.get(name) ?? [])].filter((user) => user !== file);
      return file.startsWith("test/") || others.length > 0 ? [] : [`${file}: ${name}`];
    }),
  );
}

it("finds what only its own file uses, or only a comment names", () => {
  const files = new Map([
    ["a.ts", "export const used = 1;\nexport function own() {}\nown();\nexport class Dead {}"],
    ["b.ts", 'import { used } from "./a.ts";\n// Dead\nconsole.log(used);'],
    ["test/c.ts", "export const helper = 1;"],
  ]);
  expect(unusedExports(files)).toEqual(["a.ts: own", "a.ts: Dead"]);
});

it("exports nothing that no other file uses", () => {
  const listed = execFileSync("git", LISTING, { encoding: "utf8" });
  const files = listed.split("\n").filter((name) => /(?<!\.d)\.(ts|mjs|cjs)$/.test(name));
  expect(files.length).toBeGreaterThan(1000);
  expect(unusedExports(new Map(files.map((file) => [file, readFileSync(file, "utf8")])))).toEqual([]);
});
