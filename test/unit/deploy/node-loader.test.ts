/** V8's code cache of bundles: used for the bytes and the Node that it was made for, and never a reason to fail. */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const DEPLOY = join(import.meta.dirname, "../../../deploy");

describe("the code cache of a program on Node", () => {
  let lib = "";
  const cacheFolder = () => join(lib, "code-cache", `${process.version}-${process.arch}`);
  beforeEach(() => {
    lib = mkdtempSync(join(tmpdir(), "tulle-loader-"));
    mkdirSync(join(lib, "vendor"));
    copyFileSync(join(DEPLOY, "node-loader.cjs"), join(lib, "load.cjs"));
    writeFileSync(join(lib, "vendor/part.cjs"), 'exports.word = "one";');
    writeFileSync(join(lib, "tulle.cjs"), 'console.log(require("./vendor/part.cjs").word, __filename);');
  });
  afterEach(() => rmSync(lib, { recursive: true, force: true }));

  const runNode = (script: string): string =>
    execFileSync(process.execPath, ["-e", script], { encoding: "utf8" });
  const train = () =>
    runNode(
      `require(${JSON.stringify(join(DEPLOY, "node-training.cjs"))}).train(${JSON.stringify(lib)}, "tulle")`,
    );
  /** What the program prints, and for each bundle whether V8 rejected its cache; undefined where it has none. */
  const start = (): { readonly output: string; readonly rejected: readonly (boolean | undefined)[] } => {
    const script = `
      const rejected = [];
      require("${lib}/load.cjs").installLoader((script) => rejected.push(script.cachedDataRejected ?? null));
      require("${lib}/tulle.cjs");
      console.log(JSON.stringify(rejected));`;
    const [output = "", last = ""] = runNode(script).trim().split("\n");
    return { output, rejected: JSON.parse(last).map((value: boolean | null) => value ?? undefined) };
  };
  const expected = () => `one ${join(lib, "tulle.cjs")}`;

  it("does without one", () => {
    expect(start()).toEqual({ output: expected(), rejected: [undefined, undefined] });
    expect(readdirSync(lib)).toEqual(["load.cjs", "tulle.cjs", "vendor"]);
  });

  it("uses one for each bundle", () => {
    expect(train().trim()).toBe(expected());
    expect(readdirSync(cacheFolder())).toHaveLength(2);
    expect(start()).toEqual({ output: expected(), rejected: [false, false] });
  });

  it("uses none for a bundle that has changed since, although it is as long as before", () => {
    train();
    writeFileSync(join(lib, "vendor/part.cjs"), 'exports.word = "two";');
    const { output, rejected } = start();
    expect([output, rejected]).toEqual([expected().replace("one", "two"), [false, undefined]]);
  });

  it("goes on with one that is damaged", () => {
    train();
    for (const name of readdirSync(cacheFolder())) writeFileSync(join(cacheFolder(), name), "damaged");
    expect(start()).toEqual({ output: expected(), rejected: [true, true] });
  });
});
