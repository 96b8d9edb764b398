/** What a purge of the Debian package removes, on a host that has tulle in another form; in a folder in place of /. */

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";

const SCRIPT = readFileSync(new URL("../../../deploy/package/debian/postrm", import.meta.url), "utf8");

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tulle-purge-"));
  for (const folder of [
    "var/lib/tulle/purge",
    "run/tulle",
    "etc/systemd/system/multi-user.target.wants",
    "bin",
    "etc/default",
  ])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, "var/lib/tulle/identity.json"), "{}");
  writeFileSync(join(root, "etc/systemd/system/multi-user.target.wants/tulled.service"), "");
  writeProgram("var/lib/tulle/purge/tulle", 'echo "$@" >>"$(dirname "$0")/../../../../called"');
});
afterEach(() => rmSync(root, { recursive: true }));

function writeProgram(name: string, text: string): void {
  writeFileSync(join(root, name), `#!/bin/sh\n${text}\n`);
  chmodSync(join(root, name), 0o755);
}

function purge(): string {
  const script = SCRIPT.replaceAll(/(?<![\w.])\/(?=(?:var|run|etc)\/)/g, `${root}/`);
  expect(script.replaceAll(root, "")).toBe(SCRIPT);
  const env = { PATH: `${root}/bin:/usr/bin:/bin` };
  const { status, stderr } = spawnSync("sh", ["-c", script, "postrm", "purge"], { env, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stderr;
}

const has = (name: string): boolean => existsSync(join(root, name));

it("removes network, state and links of units", () => {
  expect(purge()).toBe("");
  expect(readFileSync(join(root, "called"), "utf8")).toBe("cleanup\n");
  expect([has("var/lib/tulle"), has("run/tulle")]).toEqual([false, false]);
  expect(has("etc/systemd/system/multi-user.target.wants/tulled.service")).toBe(false);
});

it("succeeds where a folder stays, as a mount point does", () => {
  writeProgram("bin/rm", 'PATH=/usr/bin:/bin; rm "$@"; [ "$1" != -rf ]');
  expect(purge()).toBe("");
  expect(has("var/lib/tulle/identity.json")).toBe(false);
  expect(has("etc/systemd/system/multi-user.target.wants/tulled.service")).toBe(false);
});

it("says what stays where the program could not be kept for it, as on a full disk", () => {
  rmSync(join(root, "var/lib/tulle/purge"), { recursive: true });
  mkdirSync(join(root, "etc/docker"));
  writeFileSync(join(root, "etc/docker/daemon.json.before-tulle"), "{}");
  const said = purge();
  expect(said).toContain("devices, routes and rules stay until a reboot");
  expect(said).toContain("daemon.json stays");
  expect(has("var/lib/tulle")).toBe(false);
});

const expectKept = (): void => {
  expect(purge()).toContain("its state and network stay");
  expect(has("called")).toBe(false);
  expect(has("var/lib/tulle/identity.json")).toBe(true);
  expect(has("var/lib/tulle/purge")).toBe(false);
  expect(has("etc/systemd/system/multi-user.target.wants/tulled.service")).toBe(true);
};

it("keeps all of it where tulle is installed in another form, with the settings that dpkg has deleted", () => {
  writeProgram("bin/tulled", ":");
  writeFileSync(join(root, "var/lib/tulle/purge/settings"), "TULLED_OPTIONS=-iface=eth7\n", { mode: 0o600 });
  expectKept();
  expect(readFileSync(join(root, "etc/default/tulled"), "utf8")).toContain("eth7");
  expect(statSync(join(root, "etc/default/tulled")).mode & 0o777).toBe(0o600);
});

it("keeps all of it where a unit starts a program outside of PATH, and not where that is gone", () => {
  writeProgram("tulled", ":");
  const unit = `[Service]\nExecStart=${root}/tulled $TULLED_OPTIONS\n`;
  writeFileSync(join(root, "etc/systemd/system/tulled.service"), unit);
  expectKept();
  rmSync(join(root, "tulled"));
  purge();
  expect(has("var/lib/tulle")).toBe(false);
});

it("keeps all of it while a daemon runs, as in a container", async () => {
  const daemon = createServer();
  await new Promise<void>((resolve) => daemon.listen(join(root, "run/tulle/tulled.sock"), resolve));
  try {
    expectKept();
  } finally {
    daemon.close();
  }
});
