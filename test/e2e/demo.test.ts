/** The demo as a newcomer starts it: it works for every user, and each end of it removes everything. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeAsRoot } from "../support/netns.ts";
import { PROGRAMS, TULLE } from "../support/programs.ts";

const DEMO = [...TULLE, "demo"];
/** Root outside, an ordinary user inside: no capabilities, but the files of the checkout can be read. */
const AS_ORDINARY_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];

/** What util-linux brings, as far as the demo uses it, and a shell. */
const BARE_PROGRAMS = ["sh", "unshare", "nsenter", "setpriv", "mount", "umount"];
/** Shared libraries, the checkout and Node are seen in the bare root at their own places. */
const BARE_FOLDERS = [...new Set(["/usr/lib", join(PROGRAMS, "../.."), dirname(dirname(process.execPath))])];

/** The command that runs another one in a root that holds nothing else: no iproute2, ping, nft or iptables. */
function inBareRoot(root: string): readonly string[] {
  const setUp = `
    set -e
    mount -t tmpfs -o mode=755 tmpfs ${root}
    cd ${root}
    mkdir -p usr/bin proc dev tmp run etc old
    chmod 1777 tmp
    for folder in lib lib64; do
      if [ -L /$folder ]; then ln -s usr/$folder $folder; elif [ -d /$folder ]; then mkdir $folder; mount --rbind /$folder $folder; fi
    done
    if [ -d /usr/lib64 ]; then mkdir -p usr/lib64; mount --rbind /usr/lib64 usr/lib64; fi
    ln -s usr/bin bin
    for program in ${BARE_PROGRAMS.join(" ")}; do cp "$(command -v $program)" usr/bin/; done
    for folder in ${BARE_FOLDERS.join(" ")}; do
      if [ "$folder" = /usr ]; then continue; fi
      mkdir -p .$folder
      mount --rbind $folder .$folder
    done
    if [ ! -e .${process.execPath} ]; then cp ${process.execPath} .${process.execPath}; fi
    mount --rbind /proc proc
    mount --rbind /dev dev
    pivot_root . old
    umount --lazy /old
    exec "$@"`;
  const ownMounts = ["unshare", "--mount", "--propagation", "private"];
  return ["env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", ...ownMounts, "sh", "-c", setUp, "sh"];
}

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

  afterEach(async () => {
    // A test that failed leaves it running.
    if (run.child.exitCode === null && run.child.signalCode === null) run.child.kill("SIGTERM");
    await run.exitCode;
    expectNothingLeftBy(run);
  });

  it("shows a network of three hosts in which everybody reaches everybody", async () => {
    run = start(...DEMO);
    expect(await run.exitCode).toBe(0);
    expect(run.output()).toMatch(/✔ tulled on each host/);
    expect(run.output().match(/^host\d +192\.168\.50\.\d+ +10\.2\.\d+\.1\/24 +1450 /gm)).toHaveLength(3);
    expect(run.output().match(/ \d+\.\d{3}(?= |$)/gm)).toHaveLength(30);
    expect(run.output()).toMatch(/it came back automatically: \d+ of \d+ packets lost/);
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
    expect(run.output()).toMatch(/it came back automatically/);
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

  it("removes everything when its output is not read to the end", async () => {
    run = start(...DEMO);
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("tulle demo");
    run.child.stdout?.destroy();
    expect(await run.exitCode, run.output()).toBe(0);
  });

  it("stays up with --keep, says how to look around, and goes at Ctrl-C", async () => {
    run = start(...DEMO, "--keep");
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("Ctrl-C removes it");
    const status = /^ +(\S+\/tulle) (status --run-dir=\S+)$/m.exec(run.output());
    const [, tulle = "", args = ""] = status ?? [];
    expect(spawnSync(tulle, args.split(" "), { encoding: "utf8" }).stdout).toContain("ready");
    signalGroup(run, "SIGINT");
    expect(await run.exitCode).toBe(0);
  });

  it("goes when it is killed", async () => {
    run = start(...DEMO, "--keep");
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("Ctrl-C removes it");
    run.child.kill("SIGKILL");
    await expect.poll(run.output, { timeout: 20_000, interval: 20 }).toContain("all of it is removed");
  });

  describe("on a bare machine with Node and util-linux only", () => {
    let root: string;
    beforeEach(() => {
      root = mkdtempSync(join(tmpdir(), "tulle-bare-"));
    });
    afterEach(() => rmSync(root, { recursive: true }));

    it.each([
      ["root", []],
      ["the user nobody", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]],
    ])("works for %s", async (_user, asUser) => {
      const absent = ["ip", "ping", "nft", "iptables", "iptables-nft", "iptables-legacy", "tc", "bridge"];
      const search = `for name in ${absent.join(" ")}; do command -v $name && exit 9; done; exec "$@"`;
      run = start(...inBareRoot(root), ...asUser, "sh", "-c", search, "sh", ...DEMO);
      expect(await run.exitCode, run.output()).toBe(0);
      expect(run.output()).toMatch(/✔ tulled on each host/);
      expect(run.output().match(/ \d+\.\d{3}(?= |$)/gm)).toHaveLength(30);
      expect(run.output()).toMatch(/it came back automatically: \d+ of \d+ packets lost/);
      expect(run.output()).not.toContain("✘");
    });
  });
});

function expectNothingLeftBy({ child }: Run): void {
  const mine = `tulle-demo-${child.pid}-`;
  expect(spawnSync("ip", ["netns"], { encoding: "utf8" }).stdout).not.toContain(mine);
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith(mine))).toEqual([]);
}
