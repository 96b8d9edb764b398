/** `npm install -g` from a registry on loopback: with the executable, and on Node where there is none. */

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeAsRoot } from "../../support/netns.ts";
import { NpmRegistry } from "../../support/npm-registry.ts";
import { PackageFolder } from "../../support/packages.ts";

const MODULES = join(import.meta.dirname, "../../../node_modules");
const run = promisify(execFile);

describeAsRoot("the npm package", () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-npm-"));
  const prefix = join(folder, "prefix");
  let packages: PackageFolder;
  let registry: NpmRegistry;
  let archives: readonly string[];

  beforeAll(async () => {
    packages = new PackageFolder();
    archives = await packages.add("0.1.0", "npm");
    registry = await NpmRegistry.start();
    registry.addInstalled(join(MODULES, "koffi"));
    registry.addInstalled(join(MODULES, `@koromix/koffi-linux-${process.arch}`));
  });
  afterAll(async () => {
    await registry.close();
    packages.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const read = (name: string): Buffer => readFileSync(join(packages.path, name));

  async function install(): Promise<void> {
    const settings = [
      `--registry=${registry.url}`,
      `--prefix=${prefix}`,
      `--cache=${join(folder, "cache")}`,
      "--prefer-online",
      "--no-audit",
      "--no-fund",
      "--no-update-notifier",
    ];
    await run("npm", ["install", "--global", ...settings, "tulle"], { cwd: folder });
  }

  /** What the installed programs answer; `path` is all that they find other programs by. */
  async function answers(path: string): Promise<readonly string[]> {
    const env = { PATH: path };
    const program = (name: string): string => join(prefix, "bin", name);
    const outputs = await Promise.all([
      run(program("tulle"), ["version"], { env }),
      run(program("tulled"), ["--version"], { env }),
      run(program("tulle-cni"), [], { env: { ...env, CNI_COMMAND: "VERSION" } }),
      run(program("tulle-netavark"), ["info"], { env }),
    ]);
    return outputs.map(({ stdout }) => stdout.trim());
  }

  const ANSWERS = [
    expect.stringMatching(/^tulle \d/),
    expect.stringMatching(/^tulled \d/),
    expect.stringMatching(/^\{"cniVersion"/),
    expect.stringMatching(/^\{"version"/),
  ];

  it("runs on Node where the registry has no executable for the machine", async () => {
    registry.add(read("tulle-0.1.0.tgz"));
    await install();
    expect(await answers(`${dirname(process.execPath)}:/usr/bin:/bin`)).toEqual(ANSWERS);
    // This needs the native module.
    const cleanup = ["--net", join(prefix, "bin/tulle"), "cleanup", "--dry-run"];
    const { stdout } = await run("unshare", [...cleanup, `--state-dir=${join(folder, "state")}`]);
    expect(stdout).toContain("nothing of ours is here");
    const page = join(prefix, "share/man/man8/tulled.8");
    expect(readFileSync(page, "utf8")).toContain(".TH TULLED 8");
  });

  it("runs the executable where there is one, without Node", async () => {
    for (const name of archives) registry.add(read(name));
    await install();
    const path = join(folder, "tools");
    mkdirSync(path);
    for (const tool of ["dirname", "readlink"]) symlinkSync(`/usr/bin/${tool}`, join(path, tool));
    expect(await answers(path)).toEqual(ANSWERS);
  });

  it("holds neither tests nor sources", async () => {
    const { stdout } = await run("tar", ["-tzf", join(packages.path, "tulle-0.1.0.tgz")]);
    const kinds = new Set(stdout.split("\n").map((name) => name.split("/")[1]));
    expect([...kinds].filter(Boolean).sort()).toEqual(
      [
        ...["CHANGELOG.md", "LICENSE", "LICENSES.txt", "README.md", "SECURITY.md"],
        ...["bin", "deploy", "docs", "lib", "package.json", "share"],
      ].sort(),
    );
    expect(stdout).toContain("package/deploy/systemd/tulled.service\n");
    expect(stdout).not.toMatch(/\.(ts|map)$/m);
  });
});
