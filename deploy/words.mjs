/**
 * Looks for words and phrases that the project's texts must not use, in comments and documents: a part of
 * `npm run lint`. Prints `file:line: phrase: remedy` for each and exits with 1 when there is one.
 *
 *     node deploy/words.mjs             every file under version control
 *     node deploy/words.mjs PATH...     these only
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { commentLines, findPhrases } from "./words/check.mjs";

const paths = process.argv.slice(2);
// Without paths it lists all files; a path that names none is an error, so that a misspelt one does not pass.
const list = ["ls-files", "--error-unmatch", "--", ...paths];
const files = execFileSync("git", list, { encoding: "utf8" }).split("\n");
let count = 0;
for (const file of files.filter((name) => /\.(ts|mts|mjs|cjs|md|sh|service|conf)$/.test(name))) {
  if (/^(deploy\/words\/|test\/fixtures\/|test\/unit\/deploy\/words)/.test(file)) continue;
  const text = readFileSync(file, "utf8");
  for (const { line, phrase, remedy } of findPhrases(commentLines(file, text))) {
    count += 1;
    console.log(`${file}:${line}: "${phrase}": ${remedy}`);
  }
}
if (count > 0)
  console.log(`${count} ${count === 1 ? "phrase" : "phrases"} to rewrite in plain technical English`);
process.exitCode = count > 0 ? 1 : 0;
