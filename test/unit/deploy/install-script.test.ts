/** The archive's install script on what only its shell decides; test/e2e/packages installs real archives. */

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";

const SCRIPT = new URL("../../../deploy/package/tarball/install.sh", import.meta.url);
const UNIT = "usr/lib/systemd/system/tulled.service";
const FILES = `file 755 usr/bin/tulle\nlink 777 usr/bin/tulled tulle\nfile 644 ${UNIT}\n`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-install-"));
  const archive = join(folder, "archive");
  mkdirSync(join(archive, "usr/bin"), { recursive: true });
  writeFileSync(join(archive, "install.sh"), readFileSync(SCRIPT, "utf8").replace("@LEAVE@", ""));
  writeFileSync(join(archive, "usr/bin/tulle"), "the program\n");
  mkdirSync(join(archive, dirname(UNIT)), { recursive: true });
  writeFileSync(join(archive, UNIT), "[Service]\nExecStart=/usr/bin/tulled $TULLED_OPTIONS\n");
  writeFileSync(join(archive, "FILES"), FILES);
  const sums = execFileSync("sha256sum", ["FILES", "usr/bin/tulle", UNIT], { cwd: archive });
  writeFileSync(join(archive, "SHA256SUMS"), sums);
});
afterEach(() => rmSync(folder, { recursive: true }));

function install(environment: Readonly<Record<string, string>> = {}, args: readonly string[] = []) {
  const env = { PATH: process.env.PATH, DESTDIR: join(folder, "root"), ...environment };
  const { status, stderr } = spawnSync("sh", ["archive/install.sh", ...args], {
    cwd: folder,
    env,
    encoding: "utf8",
  });
  return { status, stderr };
}

const installed = (): readonly string[] => readdirSync(join(folder, "root/usr/local/bin")).sort();

it("finds its archive whatever CDPATH says", () => {
  expect(install({ CDPATH: folder })).toEqual({ status: 0, stderr: "" });
  expect(installed()).toEqual(["tulle", "tulled"]);
});

it("names a folder that is in the way, and changes nothing", () => {
  const place = join(folder, "root/usr/local/bin/tulled");
  mkdirSync(place, { recursive: true });
  const { status, stderr } = install();
  expect(status).toBe(1);
  expect(stderr).toContain(`${place} is a folder: remove it`);
  expect(installed()).toEqual(["tulled"]);
  expect(readdirSync(place)).toEqual([]);
});

it("names the damaged file where sha256sum speaks the user's language", () => {
  const fake = join(folder, "fake");
  mkdirSync(fake);
  const french = '[ "$LC_ALL" = C ] && exec /usr/bin/sha256sum "$@"\necho FILES: Réussi\nexit 1\n';
  writeFileSync(join(fake, "sha256sum"), `#!/bin/sh\n${french}`);
  chmodSync(join(fake, "sha256sum"), 0o755);
  writeFileSync(join(folder, "archive/usr/bin/tulle"), "damaged\n");
  const { status, stderr } = install({ PATH: `${fake}:${process.env.PATH}`, LC_ALL: "fr_FR.UTF-8" });
  expect(status).toBe(1);
  expect(stderr).toContain("nothing was changed: usr/bin/tulle: FAILED");
});

it("leaves units to an installation with another prefix, which has replaced them", () => {
  const unit = join(folder, "root/etc/systemd/system/tulled.service");
  const uninstall = (PREFIX: string) => install({ PREFIX }, ["--uninstall"]);
  install();
  install({ PREFIX: "/opt/tulle" });
  expect(uninstall("/usr/local")).toEqual({ status: 0, stderr: "" });
  expect(existsSync(join(folder, "root/usr/local/bin/tulle"))).toBe(false);
  expect(readFileSync(unit, "utf8")).toContain("ExecStart=/opt/tulle/bin/tulled ");
  expect(existsSync(join(folder, "root/opt/tulle/bin/tulle"))).toBe(true);
  expect(uninstall("/opt/tulle")).toEqual({ status: 0, stderr: "" });
  expect(existsSync(unit)).toBe(false);
});

it("asks for root before it looks at files that only root can read", () => {
  const fake = join(folder, "fake");
  mkdirSync(fake);
  writeFileSync(join(fake, "id"), "#!/bin/sh\necho 1000\n", { mode: 0o755 });
  const { status, stderr } = install({ PATH: `${fake}:${process.env.PATH}`, DESTDIR: "" });
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: "install.sh: this changes files of the host: run it as root\n",
  });
});
