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

  it("takes Docker's drop-in and the CNI plugin back before the program goes, and names what stays", () => {
    const { exitCode, out, err } = run(`
      mkdir -p /run/flannel /opt/cni/bin /var/lib/tulle
      printf 'FLANNEL_NETWORK=10.2.0.0/16\\nFLANNEL_SUBNET=10.2.54.1/24\\nFLANNEL_MTU=1450\\nFLANNEL_IPMASQ=true\\n' > /run/flannel/subnet.env
      echo former > /opt/cni/bin/flannel
      ip link add uplink type veth peer name lan
      ip address add 192.0.2.1/24 dev uplink
      ip link set uplink up
      dpkg -i /packages/${older} >/dev/null
      tulle docker setup --into drop-in
      tulle cni install --bin-dir /usr/lib/cni --name tulle --no-conflist
      tulle cni install 2>/dev/null
      dpkg -i /packages/${newer} >/dev/null
      readlink /opt/cni/bin/flannel /usr/lib/cni/tulle
      echo removal
      dpkg -r tulle 2>&1 | grep -v '^(Reading\\|^Removing\\|^Processing'
      find /etc/systemd/system/docker.service.d /etc/cni/net.d /opt/cni/bin -type f
      test ! -L /usr/lib/cni/tulle
      cat /opt/cni/bin/flannel
      echo settings
      dpkg -i /packages/${older} >/dev/null
      tulle docker setup --into daemon-json >/dev/null
      tulle cni install >/dev/null 2>&1
      echo >> /etc/cni/net.d/10-flannel.conflist
      dpkg -r tulle 2>&1 | grep -v '^(Reading\\|^Removing\\|^Processing'
      grep bip /etc/docker/daemon.json
      echo purge
      dpkg -P tulle >/dev/null
      find /etc/docker -name 'daemon.json*'`);
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    const [, removal = "", settings = "", purge] = out.split(/^(?:removal|settings|purge)\n/m);
    expect(removal.split("\n").sort()).toEqual(
      [
        "",
        "/etc/systemd/system/docker.service.d/50-tulle.conf removed",
        "restart Docker to apply it: systemctl restart docker",
        "removed /etc/cni/net.d/10-flannel.conflist",
        "removed /usr/lib/cni/tulle",
        "restored /opt/cni/bin/flannel from /opt/cni/bin/flannel.before-tulle",
        "/opt/cni/bin/flannel",
        "former",
      ].sort(),
    );
    expect(settings).toContain("/etc/docker/daemon.json stays, Docker keeps this host's subnet");
    expect(settings).toContain('10-flannel.conflist is not as "tulle cni install" wrote it: remove it');
    expect(settings).toContain("restored /opt/cni/bin/flannel from");
    expect(settings).toContain('"bip": "10.2.54.1/24"');
    expect(purge).toBe("");
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
