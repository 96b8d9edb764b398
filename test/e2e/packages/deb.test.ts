/** The Debian package on a system without systemd: what it installs, leaves and refuses. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithDebian, inDebian } from "../../support/debian-root.ts";
import { PackageFolder } from "../../support/packages.ts";

/** All files but those in which dpkg keeps its own records. */
const LIST_FILES = `find / -xdev \\( -path /packages -o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache \\) -prune -o -print | sort`;

describeWithDebian("the Debian package", () => {
  let packages: PackageFolder;
  let older: string;
  let newer: string;

  beforeAll(async () => {
    packages = new PackageFolder();
    [older = ""] = await packages.add("0.1.0", "deb");
    [newer = ""] = await packages.add("0.2.0-rc.1", "deb");
  });
  afterAll(() => packages.dispose());

  const run = (script: string, options = {}) => inDebian(packages.path, script, options);

  it("installs programs that run, and files as it lists them", () => {
    const { exitCode, out, err } = run(`
      dpkg -i /packages/${older} >/dev/null
      dpkg --verify tulle
      tulle version
      tulled --version
      CNI_COMMAND=VERSION /usr/lib/cni/tulle-cni
      echo
      /usr/lib/netavark/tulle info
      stat -c '%a %n' /etc/default/tulled
      for name in tulled tulle-netavark; do zcat /usr/share/man/man8/$name.8.gz | head -n 1; done`);
    expect(err).toBe("");
    expect(exitCode).toBe(0);
    const lines = out.trim().split("\n");
    expect(lines.slice(0, 2)).toEqual([
      expect.stringMatching(/^tulle \d/),
      expect.stringMatching(/^tulled \d/),
    ]);
    expect(out).toContain('"cniVersion"');
    expect(out).toContain("600 /etc/default/tulled");
    for (const name of ["TULLED", "TULLE-NETAVARK"]) expect(out).toContain(`.TH ${name} 8`);
  });

  it("leaves nothing after install, upgrade, removal and purge", () => {
    const { exitCode, out, err } = run(`
      ${LIST_FILES} > /packages/before
      dpkg -i /packages/${older} >/dev/null
      mkdir -p /var/lib/tulle && echo '{}' > /var/lib/tulle/events.json
      dpkg -i /packages/${newer} >/dev/null
      dpkg -r tulle >/dev/null
      test -e /etc/default/tulled -a -e /var/lib/tulle/events.json -a ! -e /usr/bin/tulle
      dpkg -P tulle >/dev/null
      ${LIST_FILES} > /packages/after
      diff /packages/before /packages/after`);
    expect({ exitCode, out, err }).toEqual({ exitCode: 0, out: "", err: "" });
  });

  it("keeps settings of the administrator", () => {
    const { exitCode, out } = run(`
      dpkg -i /packages/${older} >/dev/null
      echo 'TULLED_OPTIONS=-iface=eth7' > /etc/default/tulled
      dpkg -i /packages/${newer} </dev/null >/dev/null
      cat /etc/default/tulled
      dpkg-query -W -f '\${Version}\\n' tulle`);
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: "TULLED_OPTIONS=-iface=eth7\n0.2.0~rc.1-1\n" });
  });

  it("can be replaced by an older version", () => {
    const { exitCode, out, err } = run(`
      dpkg -i /packages/${newer} >/dev/null
      dpkg -i /packages/${older} >/dev/null
      dpkg --verify tulle
      dpkg-query -W -f '\${Version} \${Status}\\n' tulle`);
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: "0.1.0-1 install ok installed\n" });
    expect(err).toContain("downgrading tulle (0.2.0~rc.1-1) to (0.1.0-1)");
  });

  it("stays installed when the disk is too full for an upgrade", () => {
    const script = `
      dpkg -i /packages/${older} >/dev/null
      dpkg -i /packages/${newer} && exit 9
      tulle version
      dpkg-query -W -f '\${Version} \${Status}\\n' tulle
      dpkg --verify tulle`;
    const { exitCode, out, err } = run(script, { mebibytes: 180 });
    expect(err).toContain("No space left on device");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^tulle \d.*\n0\.1\.0-1 install ok installed\n$/m);
  });

  it("is rejected when its bytes are damaged, and leaves the installed version", () => {
    const { exitCode, out, err } = run(`
      dpkg -i /packages/${older} >/dev/null
      cp /packages/${newer} /damaged.deb
      printf damage | dd of=/damaged.deb bs=1 seek=20000000 conv=notrunc 2>/dev/null
      dpkg -i /damaged.deb >/dev/null && exit 9
      dpkg --verify tulle
      dpkg-query -W -f '\${Version} \${Status}\\n' tulle`);
    expect(err).toMatch(/checksum|corrupt/i);
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: "0.1.0-1 install ok installed\n" });
  });
});
