/** What programs of deploy/ leave when a signal ends them: nothing. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

/** A tool that has started another program, and writes below the folder for as long as it runs. */
const PROGRAM = `
  import { exitOnSignals, inTemporaryFolder } from "${ROOT}/deploy/cleanup.mjs";
  import { runTool } from "${ROOT}/deploy/package/run-tool.mjs";
  exitOnSignals();
  const script = 'sleep 300 & echo $! $$ >pids; mv pids ..; i=0; while :; do i=$((i + 1)); mkdir "$i"; done';
  await inTemporaryFolder("outer-", async (outer) => {
    await inTemporaryFolder(outer + "/inner-", (cwd) => runTool("sh", ["-c", script], { cwd }));
  });
`;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-cleanup-"));
  mkdirSync(join(folder, "tmp"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a signal to a program leaves no folder and no tool:", () => {
  it.each(SIGNALS)("%s", async (signal) => {
    const file = join(folder, "program.mjs");
    writeFileSync(file, PROGRAM);
    const env = { ...process.env, TMPDIR: join(folder, "tmp") };
    const program = spawn(process.execPath, [file], { env, stdio: "inherit" });
    const ended = once(program, "exit");
    const pidFiles = () =>
      readdirSync(env.TMPDIR)
        .map((name) => join(env.TMPDIR, name, "pids"))
        .filter(existsSync);
    await expect.poll(pidFiles, { timeout: 10_000 }).toHaveLength(1);
    const pids = readFileSync(pidFiles()[0] ?? "", "utf8")
      .trim()
      .split(" ")
      .map(Number);
    expect(pids).toHaveLength(2);

    program.kill(signal);
    expect(await ended).toEqual([128 + constants.signals[signal], null]);
    expect(readdirSync(env.TMPDIR)).toEqual([]);
    await expect.poll(() => pids.filter(isRunning), { timeout: 10_000 }).toEqual([]);
  });
});

/** A process that has ended and was not waited for does not run (proc_pid_stat(5)). */
function isRunning(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) Z /.test(readFileSync(file, "utf8"));
}
