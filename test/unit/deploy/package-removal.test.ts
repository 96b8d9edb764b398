/** What a removal of the packages stops and keeps; in a folder in place of /, with a service manager that answers from files. */

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fillIn, LEAVE_RUNTIMES, OWN_UNITS } from "../../../deploy/package/scripts.mjs";

const DEPLOY = new URL("../../../deploy/package/", import.meta.url);
const PRERM = readFileSync(new URL("debian/prerm", DEPLOY), "utf8");
const SPEC = readFileSync(new URL("rpm/tulle.spec", DEPLOY), "utf8");
const PREUN = /^%preun\n(.*?)^%postun$/ms.exec(SPEC)?.[1] ?? "";

const POSTUN = /^%postun\n(.*?)^%files$/ms.exec(SPEC)?.[1] ?? "";

const UNITS = ["tulle-docker.path", "tulle-docker.service", "tulled.service"];
const SYSTEMCTL = `case $1 in
show) for last in "$@"; do :; done; cat "$(dirname "$0")/../shown/$last" ;;
*) echo "$@" >>"$(dirname "$0")/../called" ;;
esac`;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tulle-removal-"));
  for (const folder of ["run/systemd/system", "usr/bin", "var/lib/tulle", "shown", "bin"])
    mkdirSync(join(root, folder), { recursive: true });
  writeProgram("usr/bin/tulle", ":");
  writeProgram("bin/systemctl", SYSTEMCTL);
  for (const unit of UNITS) showUnit(unit, "/lib/systemd/system", "/usr/bin");
});
afterEach(() => rmSync(root, { recursive: true }));

function writeProgram(name: string, text: string): void {
  writeFileSync(join(root, name), `#!/bin/sh\n${text}\n`);
  chmodSync(join(root, name), 0o755);
}

function showUnit(unit: string, folder: string, programs: string): void {
  const program = unit === "tulled.service" ? "tulled" : "tulle";
  const start = `ExecStart={ path=${programs}/${program} ; argv[]=${programs}/${program} x ; status=0/0 }\n`;
  const shown = `${unit.endsWith(".path") ? "" : start}FragmentPath=${folder}/${unit}\n`;
  writeFileSync(join(root, "shown", unit), shown);
}

function remove(template: string, argument: string): string {
  const text = fillIn(template, { LEAVE: LEAVE_RUNTIMES, OWN: OWN_UNITS });
  // The service manager's answers name the host's paths.
  const script = text.replaceAll(/(?<![\w.*=])\/(?=(?:var|run|etc|opt|usr\/bin)\b)/g, `${root}/`);
  const env = { PATH: `${root}/bin:/usr/bin:/bin` };
  const { status, stderr } = spawnSync("sh", ["-c", script, "script", argument], { env, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stderr;
}

const called = (): string =>
  existsSync(join(root, "called")) ? readFileSync(join(root, "called"), "utf8") : "";

describe.each([
  ["Debian's", PRERM, "remove", "stop tulle-docker.path tulled.service\n"],
  ["the RPM's", PREUN, "0", `--no-reload disable --now ${UNITS.join(" ")}\n`],
])("%s script", (_, script, argument, stops) => {
  it("stops the package's units", () => {
    remove(script, argument);
    expect(called()).toBe(stops);
  });

  it("leaves the archive's units alone, which are in effect where both are installed", () => {
    for (const unit of UNITS) showUnit(unit, "/etc/systemd/system", "/usr/local/bin");
    remove(script, argument);
    expect(called()).toBe("");
  });

  it("stops a unit that an administrator edited", () => {
    showUnit("tulled.service", "/etc/systemd/system", "/usr/bin");
    remove(script, argument);
    expect(called()).toBe(stops);
  });
});

describe("Debian's script", () => {
  const kept = (): boolean => existsSync(join(root, "var/lib/tulle/purge/tulle"));

  it("keeps the program for a purge", () => {
    remove(PRERM, "remove");
    expect(kept()).toBe(true);
  });

  it("keeps the settings for the archive where tulled was not started yet, and nothing without it", () => {
    rmSync(join(root, "var/lib/tulle"), { recursive: true });
    remove(PRERM, "remove");
    expect(existsSync(join(root, "var/lib/tulle"))).toBe(false);
    for (const folder of ["etc/default", "etc/systemd/system"])
      mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, "etc/default/tulled"), "TULLED_OPTIONS=-iface=eth7\n");
    writeFileSync(join(root, "etc/systemd/system/tulled.service"), "");
    remove(PRERM, "remove");
    expect(readFileSync(join(root, "var/lib/tulle/purge/settings"), "utf8")).toContain("eth7");
  });

  it("does not hold up the removal where there is no room for it", () => {
    writeProgram("bin/mkdir", "echo 'mkdir: No space left on device' >&2\nexit 1");
    expect(remove(PRERM, "remove")).toContain("No space left");
    expect(kept()).toBe(false);
  });
});

describe("the RPM's script after a removal", () => {
  const settings = () => join(root, "etc/default/tulled");
  beforeEach(() => {
    for (const folder of ["etc/default", "etc/systemd/system"])
      mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(`${settings()}.rpmsave`, "TULLED_OPTIONS=-iface=eth7\n");
  });

  it("leaves the settings saved", () => {
    remove(POSTUN, "0");
    expect(existsSync(settings())).toBe(false);
  });

  it("puts them back for the archive, which reads the same file", () => {
    const unit = `[Service]\nExecStart=${join(root, "usr/bin/tulle")} $TULLED_OPTIONS\n`;
    writeFileSync(join(root, "etc/systemd/system/tulled.service"), unit);
    remove(POSTUN, "0");
    expect(readFileSync(settings(), "utf8")).toContain("eth7");
  });
});
