/** Which program the executable is to be, for each name, chain of links and first word. */

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chooseProgram, UnknownNameError } from "../../../../agent/host/program-choice.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-names-"));
  for (const name of ["bin", "plugins"]) mkdirSync(join(folder, name));
  for (const name of ["bin/tulle", "bin/renamed"]) writeFileSync(join(folder, name), "", { mode: 0o755 });
  for (const name of ["tulled", "tulle-cni", "tulle-netavark"]) link("tulle", `bin/${name}`);
  link("../bin/tulle-netavark", "plugins/tulle");
  link(join(folder, "bin/tulle-cni"), "plugins/flannel");
  link("../bin/tulle", "plugins/alias");
  link("../bin/renamed", "plugins/to-renamed");
  link("round", "plugins/round");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function link(target: string, name: string): void {
  symlinkSync(target, join(folder, name));
}

const choose = (calledAs: string, words: readonly string[] = [], environment = {}): string => {
  const { program, isFirstWord } = chooseProgram(calledAs, words, environment);
  return isFirstWord ? `${program}, the first word` : program;
};
const at = (name: string): string => join(folder, name);

describe("the program of the executable", () => {
  it.each(["tulle", "tulled", "tulle-cni", "tulle-netavark"])("is %s by its name", (name) => {
    expect(choose(name)).toBe(name);
    expect(choose(`./${name}`)).toBe(name);
    expect(choose(at(`bin/${name}`))).toBe(name);
  });

  it("is the command line under the name of the released file", () => {
    expect(["/tmp/tulle-linux-x64", "tulle-linux-arm64"].map((name) => choose(name))).toEqual([
      "tulle",
      "tulle",
    ]);
  });

  it("is the plugin or the daemon that a link in the chain names", () => {
    expect(choose(at("plugins/tulle"), ["info"])).toBe("tulle-netavark");
    expect(choose(at("plugins/flannel"))).toBe("tulle-cni");
    expect(choose(at("plugins/alias"), ["status"])).toBe("tulle");
  });

  it("is the one that a link in PATH names, of which a shell passes on the last name only", () => {
    const environment = { PATH: `${at("absent")}:${at("bin")}:${at("plugins")}` };
    link(at("bin/tulled"), "plugins/flanneld");
    expect(choose("flanneld", ["--version"], environment)).toBe("tulled");
    expect(choose("alias", ["status"], environment)).toBe("tulle");
    expect(choose("tulle", ["status"], environment)).toBe("tulle");
    expect(() => choose("to-renamed", ["status"], environment)).toThrow(UnknownNameError);
    expect(() => choose("flanneld", ["--version"], {})).toThrow(UnknownNameError);
  });

  it("is the first word of the command line, and of a file with another name", () => {
    expect(choose("tulle", ["tulled", "--version"])).toBe("tulled, the first word");
    expect(choose("tulle", ["tulle-netavark", "info"])).toBe("tulle-netavark, the first word");
    expect(choose("/opt/x", ["tulle", "status"])).toBe("tulle, the first word");
    expect(choose("tulle", ["status", "tulled"])).toBe("tulle");
    expect(choose("tulled", ["tulle"])).toBe("tulled");
  });

  it("is the CNI plugin where a runtime calls a file of any other name", () => {
    const environment = { CNI_COMMAND: "ADD" };
    expect(choose("/opt/cni/bin/flannel", [], environment)).toBe("tulle-cni");
    expect(choose(at("plugins/alias"), [], environment)).toBe("tulle-cni");
    expect(choose("tulled", [], environment)).toBe("tulled");
    expect(choose("tulle", ["status"], environment)).toBe("tulle");
  });

  it.each(["renamed", "plugins/to-renamed", "plugins/round", "absent"])("is none for %s", (name) => {
    expect(() => choose(at(name))).toThrow(UnknownNameError);
    expect(() => choose(at(name), ["status"])).toThrow(/call it tulle, tulled, tulle-cni, tulle-netavark/);
  });

  it("is none for names that are almost those, which are shown escaped", () => {
    for (const name of ["tulle-", "tulle.old", "Tulled", "", "tulle-linux-"])
      expect(() => choose(name)).toThrow(UnknownNameError);
    expect(() => choose("/x/evil\x1b[2J\n")).toThrow('the name "evil\\x1b[2J\\n" of this file');
  });
});
