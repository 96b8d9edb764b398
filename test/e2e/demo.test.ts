/** The demo as a newcomer meets it: it works, for anybody, and leaves nothing behind however it ends. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { PROGRAMS } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";

const DEMO = [process.execPath, join(PROGRAMS, "tulle"), "demo"];
/** Root outside, an ordinary user inside: no capabilities, but the files of the checkout can be read. */
const AS_ORDINARY_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];

interface Run {
  readonly child: ChildProcess;
  /** What it has written so far. */
  readonly output: () => string;
  readonly exitCode: Promise<number | null>;
}

function start(...command: readonly string[]): Run {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  let text = "";
  const keep = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const exitCode = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, output: () => text, exitCode };
}

/** As a terminal does it: everything that belongs to the command gets the signal. */
function signalGroup({ child }: Run, signal: NodeJS.Signals): void {
  if (child.pid === undefined) throw new Error("the demo was not started");
  process.kill(-child.pid, signal);
}

describeAsRoot("tulle demo", () => {
  let run: Run;

  afterEach(() => expectNothingLeftBy(run));

  it("shows a network of three hosts in which everybody reaches everybody", async () => {
    run = start(...DEMO);
    expect(await run.exitCode).toBe(0);
    expect(run.output()).toMatch(/✔ tulled on each host/);
    expect(run.output().match(/^host\d +192\.168\.50\.\d+ +10\.2\.\d+\.1\/24 +1450 /gm)).toHaveLength(3);
    expect(run.output().match(/ \d+\.\d{3}(?= |$)/gm)).toHaveLength(30);
    expect(run.output()).toMatch(/it came back by itself: \d+ of \d+ packets lost/);
    expect(run.output()).not.toContain("✘");
    // A usual terminal shows every line whole.
    expect(
      run
        .output()
        .split("\n")
        .filter((line) => line.length > 80),
    ).toEqual([]);
  });

  it("works for an ordinary user", async () => {
    run = start(...AS_ORDINARY_USER, ...DEMO);
    expect(await run.exitCode, run.output()).toBe(0);
    expect(run.output()).toMatch(/it came back by itself/);
  });

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("removes everything at %s", async (signal) => {
    run = start(...DEMO);
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("tulled on each host");
    for (let count = 0; count < 3; count++) {
      signalGroup(run, signal);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await run.exitCode, run.output()).toBe(130);
  });

  it("stays up with --keep, says how to look around, and goes at Ctrl-C", async () => {
    run = start(...DEMO, "--keep");
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("Ctrl-C takes it down");
    const status = /^ +(\S+\/tulle) (status --run-dir=\S+)$/m.exec(run.output());
    const [, tulle = "", args = ""] = status ?? [];
    expect(spawnSync(tulle, args.split(" "), { encoding: "utf8" }).stdout).toContain("ready");
    signalGroup(run, "SIGINT");
    expect(await run.exitCode).toBe(0);
  });

  it("goes when it is killed", async () => {
    run = start(...DEMO, "--keep");
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("Ctrl-C takes it down");
    run.child.kill("SIGKILL");
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("all of it is removed");
  });

  it("names the packages of what is missing", async () => {
    run = start("env", "PATH=/nowhere", ...DEMO);
    expect(await run.exitCode).toBe(1);
    expect(run.output()).toBe(
      "tulle: ip and ping not found: apt-get install iproute2 iputils-ping [TULLE_PREREQUISITE]\n",
    );
  });
});

function expectNothingLeftBy({ child }: Run): void {
  const mine = `tulle-demo-${child.pid}-`;
  expect(spawnSync("ip", ["netns"], { encoding: "utf8" }).stdout).not.toContain(mine);
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith(mine))).toEqual([]);
}
