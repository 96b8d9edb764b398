/** The variables that Node obeys: named completely, and taken away by launchers and units alike. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it } from "vitest";
import {
  LOADER_VARIABLES,
  launchLine,
  NODE_VARIABLES,
  PROXY_VARIABLES,
} from "../../../deploy/runtime-variables.mjs";

/** Colours, time zone, the REPL, Windows, and the size of the thread pool: none of these runs or trusts anything. */
const HARMLESS =
  /^(FORCE_COLOR|NO_COLOR|NODE_DISABLE_COLORS|TZ|UV_THREADPOOL_SIZE|NODE_REPL_.*|NODE_PENDING_PIPE_INSTANCES)$/;

describe("variables that Node obeys", () => {
  it("are those of node --help", () => {
    const help = execFileSync(process.execPath, ["--help"], { encoding: "utf8" });
    const [, section = ""] = help.split("Environment variables:\n");
    const named = [...section.matchAll(/^([A-Z][A-Z0-9_]+)(?= |$)/gm)].map(([, name]) => name ?? "");
    expect(named).toContain("NODE_EXTRA_CA_CERTS");
    expect(named.filter((name) => !HARMLESS.test(name) && !NODE_VARIABLES.includes(name))).toEqual([]);
  });

  it.each(["tulled.service", "tulle-docker.service"])("are unset by %s", (unit) => {
    const text = readFileSync(join(import.meta.dirname, "../../../deploy/systemd", unit), "utf8");
    const unset = [...text.matchAll(/^UnsetEnvironment=(.*)$/gm)].flatMap(([, names = ""]) =>
      names.split(" "),
    );
    expect(unset.sort()).toEqual([...NODE_VARIABLES, ...LOADER_VARIABLES, ...PROXY_VARIABLES].sort());
  });

  it("are unset by sh in a launcher, which passes arguments on", () => {
    const line = launchLine('env printf "%s\\n" "$(env | grep -c NODE_OPTIONS)"');
    const env = { ...process.env, NODE_OPTIONS: "--require=/nowhere" };
    const answer = execFileSync("sh", ["-c", line, "program", "a b"], { env, encoding: "utf8" });
    expect(answer).toBe("0\nprogram\na b\n");
  });
});
