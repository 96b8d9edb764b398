/** How the executable is built: the same bytes each time, for both processors, for the C library alone. */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ARCHITECTURES, hasCompiler } from "../../deploy/package/bun-runtime.mjs";
import { buildExecutable } from "../../deploy/package/executable.mjs";

const ROOT = join(import.meta.dirname, "../..");
/** The C library in its parts (of old versions), and the loader. */
const LIBRARIES = /^(libc\.so\.6|libpthread\.so\.0|libdl\.so\.2|libm\.so\.6|ld-linux-[\w-]+\.so\.[12])$/;
/** The newest version of a symbol, 2.17: that of the first glibc with ARM64. */
const NEWEST_MINOR = 17;
/** Debian's cross libraries, which qemu-user needs as the root of the other processor's files. */
const ARM_LIBRARIES = "/usr/aarch64-linux-gnu";

const reasonWithoutArm =
  process.arch === "arm64" ? "this is arm64" : missingEmulator() ? "qemu-user, libc6-arm64-cross" : null;

function missingEmulator(): boolean {
  return spawnSync("qemu-aarch64", ["--version"]).status !== 0 || !existsSync(ARM_LIBRARIES);
}

describe.skipIf(!hasCompiler() && !process.env.CI)("the build of the executable", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-build-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const build = async (arch: string, name: string): Promise<string> => {
    const outFile = join(folder, name);
    await buildExecutable({ arch: arch === "arm64" ? "arm64" : "x64", outFile });
    return outFile;
  };
  const digestOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

  it("gives the same bytes at another time and place", async () => {
    const first = digestOf(await build(process.arch, "first"));
    mkdirSync(join(folder, "elsewhere"));
    vi.stubEnv("TMPDIR", join(folder, "elsewhere"));
    const second = digestOf(await build(process.arch, "second"));
    vi.unstubAllEnvs();
    expect(second).toBe(first);
  });

  it.each(ARCHITECTURES)("needs the C library alone, of any age, on %s", async (arch) => {
    const file = await build(arch, `tulle-linux-${arch}`);
    const dynamic = execFileSync("readelf", ["--dynamic", "--version-info", file], { encoding: "utf8" });
    const needed = [...dynamic.matchAll(/Shared library: \[(.*?)\]/g)].map(([, name]) => name);
    expect(needed.filter((name) => !LIBRARIES.test(name ?? ""))).toEqual([]);
    expect(needed).toContain("libc.so.6");
    const versions = [...dynamic.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    expect(Math.max(...versions)).toBeLessThanOrEqual(NEWEST_MINOR);
  });

  it.each(ARCHITECTURES)("has its programs where nothing can write, on %s", (arch) => {
    const file = join(folder, `tulle-linux-${arch}`);
    const headers = execFileSync("readelf", ["--sections", "--segments", "--wide", file], {
      encoding: "utf8",
    });
    const section = Number(`0x${/ \.bun +PROGBITS +([\da-f]+)/.exec(headers)?.[1]}`);
    const segments = [...headers.matchAll(/^ +LOAD +\S+ (0x\S+) \S+ \S+ (0x\S+) ([R W]E?)/gm)];
    const [, , , rights] =
      segments.find(([, start, size]) => {
        return Number(start) <= section && section < Number(start) + Number(size);
      }) ?? [];
    expect(rights?.trim()).toBe("R");
  });

  it("leaves no temporary file when a signal ends npm run package", async () => {
    const place = join(folder, "ended");
    mkdirSync(place);
    const args = ["deploy/package/main.mjs", "--format", "executable"];
    const env = { ...process.env, TMPDIR: place };
    const program = spawn(process.execPath, args, { cwd: ROOT, env, stdio: "ignore" });
    const ended = once(program, "exit");
    // The programs are bundled: the compiler runs.
    const bundles = () =>
      readdirSync(place, { recursive: true }).filter((name) => `${name}`.endsWith("tulled.js"));
    await expect.poll(bundles, { timeout: 60_000 }).toHaveLength(1);
    program.kill("SIGTERM");
    expect(await ended).toEqual([143, null]);
    expect(readdirSync(place)).toEqual([]);
  });

  it.skipIf(reasonWithoutArm !== null && !process.env.CI)("starts on arm64, sealed", () => {
    const emulator = ["-L", ARM_LIBRARIES, join(folder, "tulle-linux-arm64")];
    const { PATH } = process.env;
    const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
      spawnSync("qemu-aarch64", [...emulator, ...args], { encoding: "utf8", env: { PATH, ...env } });
    const hostile = { BUN_BE_BUN: "1", BUN_OPTIONS: "--version" };
    expect(run(["version"], hostile).stdout).toMatch(/^tulle \d/);
    expect(run(["tulled", "--version"], hostile).stdout).toMatch(/^tulled \d/);
    expect(run([], { ...hostile, CNI_COMMAND: "VERSION" }).stdout).toContain("supportedVersions");
    const script = 'mkdir "$0" && cd "$0" && rmdir "$0" && exec qemu-aarch64 "$@" version';
    const deleted = join(folder, "deleted");
    const { stdout } = spawnSync("sh", ["-c", script, deleted, ...emulator], { encoding: "utf8" });
    expect(stdout).toMatch(/^tulle \d/);
  });
});
