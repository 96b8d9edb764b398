import { getEventListeners } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CommandRunner } from "../../../../backends/firewall/command.ts";

describe("a firewall tool", () => {
  let folder: string;
  let runner: CommandRunner;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-command-"));
    runner = new CommandRunner([], `${folder}:/usr/bin:/bin`);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it.each([
    ["is not there", () => undefined],
    ["is not executable", () => writeFileSync(join(folder, "nosuchtool"), "", { mode: 0o644 })],
  ])("that %s counts as not installed", async (_, prepare) => {
    prepare();
    expect(await runner.isInstalled("nosuchtool")).toBe(false);
    expect(await runner.runIfInstalled("nosuchtool", [])).toBeNull();
    await expect(runner.run("nosuchtool", [])).rejects.toMatchObject({
      code: "TULLE_FIREWALL",
      details: { missing: "nosuchtool" },
    });
  });

  it("gets an environment of its own, whatever this process has", async () => {
    const foreign = [
      "LD_PRELOAD",
      "LD_LIBRARY_PATH",
      "LD_AUDIT",
      "HTTPS_PROXY",
      "https_proxy",
      "BASH_ENV",
      "IPTABLES_LIB_DIR",
    ];
    for (const name of foreign) vi.stubEnv(name, folder);
    const output = await runner.succeed("env", []).finally(() => vi.unstubAllEnvs());
    expect(output.trim().split("\n").sort()).toEqual(["LC_ALL=C", `PATH=${folder}:/usr/bin:/bin`]);
  });

  it.each(["nosuchtool", "true", "false"])(
    "is forgotten by the signal when it has ended: %s",
    async (tool) => {
      const { signal } = new AbortController();
      await runner.runIfInstalled(tool, [], { signal });
      expect(getEventListeners(signal, "abort")).toEqual([]);
    },
  );

  it("is ended by the signal, also by one that fired before", async () => {
    const abort = new AbortController();
    const running = runner.run("sleep", ["1000"], { signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toThrow(/killed/);
    await expect(runner.run("sleep", ["1000"], { signal: abort.signal })).rejects.toThrow(/killed/);
  });
});
