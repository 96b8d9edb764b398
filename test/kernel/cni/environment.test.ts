/** The built programs obey no variable of the runtimes that they are made with. */

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LAUNCHERS, PROGRAMS } from "../../support/hosts.ts";

const PACKAGE = process.arch === "arm64" ? "bun-linux-aarch64" : "bun-linux-x64-baseline";
const BUN = join(import.meta.dirname, "../../../node_modules/@oven", PACKAGE, "bin/bun");

describe("the environment of the built programs", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "tulle-environment-"));
    writeFileSync(join(dir, "foreign.cjs"), `require("fs").writeFileSync(${JSON.stringify(marker())}, "");`);
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const marker = () => join(dir, "marker");
  const run = (program: string, environment: Record<string, string>, args: readonly string[] = []) =>
    spawnSync(program, args, {
      env: { PATH: process.env.PATH, ...environment },
      cwd: dir,
      input: "",
      encoding: "utf8",
      timeout: 10_000,
    });

  /** Values that show when they are obeyed; `DIR` is a folder of the test's own. */
  const BUN_ENVIRONMENTS: readonly (readonly [string, string])[] = [
    ["BUN_OPTIONS", "--preload DIR/foreign.cjs"],
    ["BUN_OPTIONS", "--eval=require('DIR/foreign.cjs')"],
    ["BUN_OPTIONS", "--cpu-prof"],
    ["BUN_BE_BUN", "1"],
    ["BUN_INSPECT", "ws+unix://DIR/inspector?wait=1"],
    ["BUN_INSPECT_PRELOAD", "DIR/foreign.cjs"],
    ["BUN_JSC_dumpOptions", "2"],
    ["BUN_JSC_useJIT", "nonsense"],
    ["JSC_dumpOptions", "2"],
    ["NODE_OPTIONS", "--require DIR/foreign.cjs"],
    ["NODE_EXTRA_CA_CERTS", "/nowhere"],
  ];

  /** A call of each program of the executable that changes nothing, and a word of its answer. */
  const COMPILED: readonly (readonly [string, Record<string, string>, readonly string[], string])[] = [
    ["tulle-cni", { CNI_COMMAND: "VERSION" }, [], "supportedVersions"],
    ["tulle-netavark", {}, ["info"], "api_version"],
    ["tulle", {}, ["version"], "tulle"],
    ["tulle", {}, ["tulled", "--version"], "tulled"],
  ];

  describe.runIf(isCompiled()).each(COMPILED)("%s, compiled", (program, own, args, word) => {
    const plugin = join(PROGRAMS, program);

    it.each(BUN_ENVIRONMENTS)("ignores %s=%s", (name, value) => {
      const plain = run(plugin, own, args);
      const seen = run(plugin, { ...own, [name]: value.replaceAll("DIR", dir) }, args);
      expect([seen.status, seen.stdout, seen.stderr]).toEqual([0, plain.stdout, ""]);
      expect(readdirSync(dir)).toEqual(["foreign.cjs"]);
    });

    it("ignores all of them at once, and sees its own variables in any place", () => {
      const foreign = Object.fromEntries(
        BUN_ENVIRONMENTS.map(([name, value]) => [name, value.replaceAll("DIR", dir)]),
      );
      const environment = { A: "1", ...foreign, ...own, BUN_LAST: "1" };
      expect(run(plugin, environment, args).stdout).toContain(word);
      expect(existsSync(marker())).toBe(false);
    });

    it("would obey them if it were not sealed", () => {
      copyFileSync(BUN, join(dir, "bun"));
      run(join(dir, "bun"), { BUN_OPTIONS: `--preload ${dir}/foreign.cjs` }, ["-e", "0"]);
      expect(existsSync(marker())).toBe(true);
    });
  });

  describe.each([
    ["tulled", ["--version"]],
    ["tulle", ["version"]],
  ])("%s on Node", (name, args) => {
    const program = join(LAUNCHERS, name);
    const environments: readonly (readonly [string, string])[] = [
      ["NODE_OPTIONS", "--require DIR/foreign.cjs"],
      ["NODE_OPTIONS", "--import DIR/foreign.cjs"],
      ["NODE_V8_COVERAGE", "DIR/coverage"],
      ["NODE_COMPILE_CACHE", "DIR/cache"],
      ["NODE_EXTRA_CA_CERTS", "/nowhere"],
      ["NODE_DEBUG", "module"],
      ["NODE_CHANNEL_FD", "0"],
    ];

    it.each(environments)("ignores %s=%s", (variable, value) => {
      const plain = run(program, {}, args);
      const seen = run(program, { [variable]: value.replaceAll("DIR", dir) }, args);
      expect([seen.status, seen.stdout, seen.stderr]).toEqual([0, plain.stdout, ""]);
      expect(readdirSync(dir)).toEqual(["foreign.cjs"]);
    });

    it("would obey them without its launcher", () => {
      run(process.execPath, { NODE_OPTIONS: `--require ${dir}/foreign.cjs` }, [program, ...args]);
      expect(existsSync(marker())).toBe(true);
    });
  });
});

/** Where npm has no Bun all programs are launchers. */
function isCompiled(): boolean {
  return existsSync(BUN);
}
