/** The RPM package, by rpm itself: its digests, its contents, and an installation into a system without rpm's records. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runTool } from "../../../agent/demo/namespace.ts";
import { describeWithDebian, inDebian } from "../../support/debian-root.ts";
import { PackageFolder } from "../../support/packages.ts";

/** As describeWithDebian; skipped too, visibly, where rpm is not installed, unless CI is set. */
function describeWithRpm(name: string, body: () => void): void {
  const isInstalled = spawnSync("rpmbuild", ["--version"]).status === 0;
  if (isInstalled || process.env.CI) describeWithDebian(name, body);
  else describe.skip(`${name} (rpm not installed)`, body);
}

describeWithRpm("the RPM package", () => {
  let packages: PackageFolder;
  let older: string;
  let newer: string;

  beforeAll(async () => {
    packages = new PackageFolder();
    [older = ""] = await packages.add("0.1.0", "rpm");
    [newer = ""] = await packages.add("0.2.0", "rpm");
  });
  afterAll(() => packages.dispose());

  const query = (...args: readonly string[]): string => runTool("rpm", [...args, join(packages.path, older)]);

  it("is whole, and needs the C library only", () => {
    expect(query("-K")).toContain("digests OK");
    const needed = query("-qp", "--requires")
      .trim()
      .split("\n")
      .filter((line) => !line.startsWith("rpmlib("));
    expect(needed).toContain("libc.so.6(GLIBC_2.17)(64bit)");
    expect(needed.filter((line) => !/^(\/bin\/sh$|ld-linux-|libc\.so)/.test(line))).toEqual([]);
  });

  it("lists what it installs, with settings as configuration", () => {
    const files = query("-qlp").trim().split("\n");
    expect(files).toEqual(
      expect.arrayContaining([
        "/usr/bin/tulle",
        "/usr/bin/tulled",
        "/usr/libexec/cni/tulle-cni",
        "/usr/lib/netavark/tulle",
        "/usr/lib/systemd/system/tulled.service",
        "/usr/share/licenses/tulle/LICENSES.txt",
        "/usr/share/man/man8/tulled.8.gz",
        "/usr/share/bash-completion/completions/tulled",
        "/usr/share/fish/vendor_completions.d/tulled.fish",
        "/usr/share/zsh/site-functions/_tulle",
        "/usr/share/zsh/site-functions/_tulled",
      ]),
    );
    expect(query("-qcp").trim()).toBe("/etc/default/tulled");
  });

  it("has scripts that never stop the daemon at an upgrade", () => {
    const scripts = query("-qp", "--scripts");
    expect(scripts).toContain("systemctl --no-block restart tulled.service");
    expect(scripts).toMatch(/"\$1" -eq 0 \].*\n.*\n.*own_units.*\n.*disable --now/);
  });

  it("installs, upgrades, downgrades and is removed in another root", () => {
    // rpm of this machine, scripts and programs of the other system.
    const rpm = `rpm --root "$ROOT"`;
    const { exitCode, out, err } = inDebian(
      packages.path,
      "ls /usr/bin/tulle* /etc/default/tulled* 2>/dev/null || true",
      {
        outside: `
        folder="${packages.path}"
        ${rpm} -i --nodeps "$folder/${older}"
        chroot "$ROOT" tulle version
        chroot "$ROOT" sh -c 'CNI_COMMAND=VERSION /usr/libexec/cni/tulle-cni | head -c 13; echo'
        ${rpm} -V --nodeps tulle
        echo changed > "$ROOT/etc/default/tulled"
        ${rpm} -U --nodeps "$folder/${newer}"
        cat "$ROOT/etc/default/tulled"
        ${rpm} -q tulle
        ${rpm} -U --nodeps --oldpackage "$folder/${older}"
        ${rpm} -q tulle
        chroot "$ROOT" tulle cni install --chained none
        ${rpm} -U --nodeps "$folder/${newer}"
        readlink "$ROOT/opt/cni/bin/flannel"
        ${rpm} -e tulle`,
      },
    );
    const lines = out.trim().split("\n");
    // Debian's rpm warns of itself.
    const words = err.split("\n").filter((line) => line !== "" && !line.startsWith("rpm: "));
    expect(words).toEqual(["warning: /etc/default/tulled saved as /etc/default/tulled.rpmsave"]);
    expect(exitCode).toBe(0);
    expect(lines).toEqual([
      "tulle: put the store's address into /etc/default/tulled, then: systemctl enable --now tulled",
      expect.stringMatching(/^tulle \d/),
      '{"cniVersion"',
      "changed",
      expect.stringMatching(/^tulle-0\.2\.0-1\./),
      expect.stringMatching(/^tulle-0\.1\.0-1\./),
      "wrote /opt/cni/bin/flannel",
      "wrote /etc/cni/net.d/10-flannel.conflist",
      "/usr/bin/tulle",
      "removed /etc/cni/net.d/10-flannel.conflist",
      "removed /opt/cni/bin/flannel",
      "/etc/default/tulled.rpmsave",
    ]);
  });
});
