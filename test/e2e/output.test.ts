/** Programs whose standard output cannot be written: one line and exit code 1; a reader may be gone. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LAUNCHERS, PROGRAMS } from "../support/hosts.ts";

const CALLS: readonly (readonly [string, string])[] = [
  ["tulled", "--help"],
  ["tulled", "--version"],
  ["tulle", "--help"],
  ["tulle", "version"],
  ["tulle-cni", "VERSION"],
  ["tulle-netavark", "info"],
  ["tulle-netavark", "--help"],
];

function run(script: string, program: string, argument: string) {
  const env = { PATH: process.env.PATH, ...(argument === "VERSION" && { CNI_COMMAND: argument }) };
  const { status, stdout, stderr } = spawnSync("bash", ["--norc", "-c", script, program, argument], {
    env,
    input: "",
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

describe.each([PROGRAMS, LAUNCHERS].filter((folder) => existsSync(folder)))("in %s", (folder) => {
  const calls = CALLS.filter(([name]) => existsSync(join(folder, name)));

  it.each(calls)("%s %s fails on a full disk", (name, argument) => {
    const { status, stderr } = run('"$0" "$1" >/dev/full', join(folder, name), argument);
    expect(status).toBe(1);
    expect(stderr).toMatch(new RegExp(`^${name}: .*ENOSPC.*\\n$`));
  });

  const forPeople = calls.filter(([name]) => ["tulle", "tulled"].includes(name));
  it.each(forPeople)("%s %s takes a reader that is gone", (name, argument) => {
    const script = 'exec 3> >(exec <&-; exit 0); wait $!; "$0" "$1" >&3';
    expect(run(script, join(folder, name), argument)).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});
