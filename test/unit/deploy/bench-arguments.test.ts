/** The command line of `npm run bench`. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it } from "vitest";
import { readArguments } from "../../../deploy/bench-arguments.mjs";

const ROOT = join(import.meta.dirname, "../../..");
const NAMES = ["cni", "store"];

describe("the arguments of a benchmark run", () => {
  it("are names and options", () => {
    expect(readArguments([], NAMES)).toEqual({
      ...{ isHelp: false, isRecorded: false, names: [], compare: null, isQuick: false, minutes: null },
      ...{ engines: "own", seed: null, only: null },
    });
    const words = ["store", "--quick", "--compare", "/opt/flanneld -v", "--minutes=1.5", "--seed", "7"];
    expect(
      readArguments([...words, "--only", "a", "--only=b", "--engines=newest", "--record"], NAMES),
    ).toEqual({
      ...{
        isHelp: false,
        isRecorded: true,
        names: ["store"],
        compare: ["/opt/flanneld", "-v"],
        isQuick: true,
      },
      ...{ minutes: 1.5, engines: "newest", seed: 7, only: ["a", "b"] },
    });
  });

  it.each([
    [["stroe"], 'no benchmark is called "stroe"; choose from cni, store'],
    [["--fast"], "Unknown option '--fast'"],
    [["--minutes"], "argument missing"],
    [["--minutes", "ten"], '--minutes: "ten" is not a number'],
    [["--engines", "old"], '--engines: "old" is unknown; take own or newest'],
  ])("%j are rejected", (words, message) => {
    expect(() => readArguments(words, NAMES)).toThrow(message);
  });
});

describe("npm run bench", () => {
  const bench = (...args: readonly string[]) =>
    spawnSync(process.execPath, [join(ROOT, "deploy/bench.mjs"), ...args], { encoding: "utf8" });

  it("answers --help with the usage and the names of all benchmarks", () => {
    const { status, stdout, stderr } = bench("--help");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^usage: npm run bench -- \[NAME…\]/);
    expect(stdout).toMatch(/^benchmarks: .*cold-start.*store-consul/m);
    expect(stdout).not.toMatch(/\bmain\b/);
  });

  it.each([["--fast"], ["stroe"]])("answers %s with one line", (word) => {
    const { status, stdout, stderr } = bench(word);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^bench: .+\n$/);
    expect(stderr).toContain(word);
  });
});
