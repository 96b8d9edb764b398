/** `tulle status --watch` on a real terminal: in place, whatever its size. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, expect, it } from "vitest";
import { fileStoreOf, type Host, TULLE, useLab } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";
import { SOON } from "../support/patience.ts";

const HOME = "\x1b[H";
const LEFT_OUT = /… \d+ more lines/;

describeAsRoot("the watched status", () => {
  const lab = useLab("watch");
  let host: Host;
  let child: ChildProcess | null = null;
  let output = "";

  beforeAll(async () => {
    host = lab().addHost();
    const store = await fileStoreOf(lab(), { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } });
    await host.daemon.start(`--store=${store}`, "--iface=eth0");
  });
  afterEach(async () => {
    if (child === null || child.exitCode !== null) return;
    const isGone = once(child, "exit");
    child.kill();
    await isGone;
  });

  /** Starts it in a window of so many rows; script(1) makes the terminal. */
  function watch(rows: number): void {
    const file = join(lab().directory, "watch.sh");
    const command = host.enter(...TULLE, "status", "--watch");
    const words = command.map((word) => `'${word}'`).join(" ");
    writeFileSync(file, `tty\nstty rows ${rows} cols 70\nexec setpriv --pdeathsig KILL ${words}\n`);
    output = "";
    child = spawn("setpriv", ["--pdeathsig", "KILL", "script", "-qfec", `sh ${file}`, "/dev/null"]);
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }

  const terminal = (): string => /^\/dev\/pts\/\d+/m.exec(output)?.[0] ?? "";
  /** What was written over the screen, each time. */
  const frames = (): readonly string[] => output.split(HOME).slice(1);
  const lastFrame = (): string => frames().at(-2) ?? "";
  const breaksIn = (frame: string): number => frame.split("\n").length - 1;

  it("never scrolls, and shows more when the window grows", async () => {
    watch(8);
    await expect.poll(lastFrame, SOON).toMatch(LEFT_OUT);
    expect(Math.max(...frames().map(breaksIn))).toBeLessThan(8);
    expect(lastFrame()).toContain("ready");
    execFileSync("stty", ["-F", terminal(), "rows", "40"]);
    await expect.poll(lastFrame, SOON).toContain("firewall");
    await expect.poll(lastFrame, SOON).not.toMatch(LEFT_OUT);
    expect(Math.max(...frames().map(breaksIn))).toBeLessThan(40);
  });
});
