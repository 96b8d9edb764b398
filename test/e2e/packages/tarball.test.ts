/** The archive's install script: what it installs, keeps, checks and rejects. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithDebian, inDebian } from "../../support/debian-root.ts";
import { PackageFolder } from "../../support/packages.ts";

const LIST_FILES = "find / -xdev -path /packages -prune -o -print | sort";

/** Puts a program first in the path that prints `text` when its first word is `word`, and else is the real one. */
const fake = (name: string, word: string, text: string): string => `
  mkdir /fake
  cat > /fake/${name} <<'PROGRAM'
#!/bin/sh
[ "$1" = ${word} ] || exec /usr/bin/${name} "$@"
echo "${text}"
PROGRAM
  chmod +x /fake/${name}
  PATH=/fake:$PATH`;

describeWithDebian("the install script", () => {
  let packages: PackageFolder;
  let deb: string;
  const folders = new Map<string, string>();

  beforeAll(async () => {
    packages = new PackageFolder();
    for (const version of ["0.1.0", "0.2.0"]) {
      const [name = ""] = await packages.add(version, "tarball");
      folders.set(version, name.replace(".tar.gz", ""));
    }
    [deb = ""] = await packages.add("0.1.0", "deb");
    const unpack = inDebian(packages.path, 'cd /packages; for file in *.tar.gz; do tar -xf "$file"; done');
    expect(unpack).toEqual({ exitCode: 0, out: "", err: "" });
  });
  afterAll(() => packages.dispose());

  const script = (version: string): string => `/packages/${folders.get(version)}/install.sh`;
  const run = (text: string, options = {}) => inDebian(packages.path, text, options);

  it("installs below /usr/local, with units that name it, and uninstalls all but settings", () => {
    const { exitCode, out, err } = run(`
      ${LIST_FILES} > /packages/before
      ${script("0.1.0")}
      tulle version
      grep ExecStart= /etc/systemd/system/tulled.service
      ls -l /usr/local/lib/netavark/tulle | sed 's/.*-> //'
      /usr/local/lib/netavark/tulle info | head -c 10
      echo
      test -f /etc/sysctl.d/90-tulle.conf -a -f /usr/local/share/man/man8/tulled.8.gz
      ! find / -xdev -name '*.tulle-new' | grep .
      /usr/local/share/tulle/install.sh --uninstall
      ${LIST_FILES} > /packages/after
      diff /packages/before /packages/after | grep '^[<>]' | grep -v '/usr/local/\\(bin\\|lib\\|share\\)' || true`);
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    const lines = out.trim().split("\n");
    expect(lines[0]).toMatch(/^tulle \d/);
    expect(lines.slice(1, 4)).toEqual([
      "ExecStart=/usr/local/bin/tulled $TULLED_OPTIONS",
      "../../bin/tulle-netavark",
      '{"version"',
    ]);
    expect(lines.slice(4).filter((line) => line.includes("tulle"))).toEqual(["> /etc/default/tulled"]);
  });

  it("takes back what Docker and CNI have of this installation, and of no other", () => {
    const { exitCode, out, err } = run(`
      mkdir -p /run/flannel /opt/cni/bin /usr/lib/cni
      printf 'FLANNEL_NETWORK=10.2.0.0/16\\nFLANNEL_SUBNET=10.2.54.1/24\\nFLANNEL_MTU=1450\\nFLANNEL_IPMASQ=true\\n' > /run/flannel/subnet.env
      ip link add uplink type veth peer name lan
      ip address add 192.0.2.1/24 dev uplink
      ip link set uplink up
      ${script("0.1.0")}
      ln -s /usr/local/bin /usr/local/same
      PATH=/usr/local/same:$PATH tulle docker setup --into drop-in >/dev/null
      cp /usr/local/bin/tulle /opt/tulle-of-today
      ln -s /opt/tulle-of-today /opt/tulle
      /opt/tulle docker setup --into drop-in --dry-run | grep -o 'TULLE_DOCKER_OPTS .* docker-opts' | tail -n 1
      grep -o 'TULLE_DOCKER_OPTS .* docker-opts' /etc/systemd/system/docker.service.d/50-tulle.conf
      tulle cni install --chained none >/dev/null
      ln -s /opt/tulle /usr/lib/cni/flannel
      /usr/local/share/tulle/install.sh --uninstall
      readlink /usr/lib/cni/flannel
      find /etc/systemd/system/docker.service.d /opt/cni/bin /etc/cni/net.d ! -type d`);
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    expect(out.trimEnd().split("\n")).toEqual([
      "TULLE_DOCKER_OPTS /opt/tulle docker-opts",
      "TULLE_DOCKER_OPTS /usr/local/bin/tulle docker-opts",
      "/etc/systemd/system/docker.service.d/50-tulle.conf removed",
      "restart Docker to apply it: systemctl restart docker",
      "removed /etc/cni/net.d/10-flannel.conflist",
      "removed /opt/cni/bin/flannel",
      "/opt/tulle",
    ]);
  });

  it("upgrades in place, keeps changed settings, and removes what the newer version lacks", () => {
    const { exitCode, out, err } = run(`
      ${script("0.1.0")}
      echo changed > /etc/default/tulled
      touch /usr/local/share/doc/tulle/of-the-former
      echo /usr/local/share/doc/tulle/of-the-former >> /usr/local/share/tulle/installed-files
      before=$(stat -c %i /usr/local/bin/tulle)
      ${script("0.2.0")}
      test "$before" != "$(stat -c %i /usr/local/bin/tulle)"
      test ! -e /usr/local/share/doc/tulle/of-the-former
      cat /etc/default/tulled`);
    expect({ exitCode, out, err }).toEqual({ exitCode: 0, out: "changed\n", err: "" });
  });

  it("upgrades and uninstalls by any path to the same prefix", () => {
    const { exitCode, out, err } = run(`
      mkdir /data
      ln -s /data /opt/link
      PREFIX=/data ${script("0.1.0")}
      PREFIX=/opt/link ${script("0.2.0")}
      /data/bin/tulle version
      grep ExecStart= /etc/systemd/system/tulled.service
      test -f /etc/sysctl.d/90-tulle.conf
      PREFIX=/data// /data/share/tulle/install.sh --uninstall
      find /data /etc/systemd/system /etc/sysctl.d -name '*tulle*'`);
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    expect(out.trimEnd().split("\n")).toEqual([
      expect.stringMatching(/^tulle \d/),
      "ExecStart=/opt/link/bin/tulled $TULLED_OPTIONS",
    ]);
  });

  it("uses the distribution's folders with PREFIX=/usr, and touches nothing outside of DESTDIR", () => {
    const { exitCode, out, err } = run(`
      ${LIST_FILES} > /packages/before
      PREFIX=/usr DESTDIR=/image ${script("0.1.0")}
      grep ExecStart= /image/usr/lib/systemd/system/tulled.service
      readlink /image/usr/lib/cni/tulle-cni
      rm -r /image
      ${LIST_FILES} | diff /packages/before -`);
    expect({ exitCode, out, err }).toEqual({
      exitCode: 0,
      out: "ExecStart=/usr/bin/tulled $TULLED_OPTIONS\n../../bin/tulle-cni\n",
      err: "",
    });
  });

  it("leaves files alone that are a package's", () => {
    const { out, err } = run(`
      PREFIX=/usr ${script("0.1.0")}
      dpkg -i /packages/${deb} >/dev/null
      PREFIX=/usr ${script("0.2.0")} || true
      PREFIX=/usr /usr/share/tulle/install.sh --uninstall || true
      dpkg --verify tulle
      ${script("0.2.0")}
      /usr/local/share/tulle/install.sh --uninstall`);
    expect(out).toBe("");
    const line =
      "install.sh: /usr/bin/tulle is of the package tulle: use the package manager, or another PREFIX";
    expect(err.trim().split("\n")).toEqual([line, line]);
  });

  it("leaves the installed version when the disk is full, and says so", () => {
    const { exitCode, out, err } = run(
      `
      ${script("0.1.0")}
      find /usr/local /etc -type f | sort | xargs sha256sum > /packages/before
      ${script("0.2.0")} && exit 9
      find /usr/local /etc -type f | sort | xargs sha256sum | diff /packages/before -
      tulle version`,
      { mebibytes: 180 },
    );
    expect(err).toContain("No space left on device");
    expect(err).toContain(
      "install.sh: a file could not be written, see above; the version that was installed is unchanged",
    );
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^tulle \d\S*\n$/);
  });

  it("rejects a damaged archive before it changes anything", () => {
    const damaged = "/damaged/usr/share/man/man8/tulled.8.gz";
    const { exitCode, out, err } = run(`
      cp -r /packages/${folders.get("0.1.0")} /damaged
      printf x >> ${damaged}
      /damaged/install.sh && exit 9
      test ! -e /usr/local/bin/tulle`);
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: "" });
    expect(err).toBe(
      "install.sh: this archive is damaged, nothing was changed: usr/share/man/man8/tulled.8.gz: FAILED\n",
    );
  });

  it.each([
    [
      "an old kernel",
      fake("uname", "-r", "4.18.0-553.el8"),
      /^Linux 5\.1 or newer is missing: this is 4\.18\.0-553\.el8$/,
    ],
    [
      "an old C library",
      fake("getconf", "GNU_LIBC_VERSION", "glibc 2.12"),
      /^glibc 2\.17 or newer is missing: this is 2\.12$/,
    ],
    [
      "another processor",
      fake("uname", "-m", "riscv64"),
      /^this archive is for \w+, and this machine is riscv64$/,
    ],
  ])("names what is missing in one line on %s", (_, prepare, message) => {
    const { out, err } = run(`
      ${prepare}
      ${script("0.1.0")} || true
      test ! -e /usr/local/bin/tulle`);
    expect(out).toBe("");
    expect(err.replace(/^install.sh: /, "").trimEnd()).toMatch(message);
  });

  it("names glibc on a system of busybox and another C library", () => {
    const { out, err } = run(`
      mkdir -p /bare/bin /bare/dev /bare/packages
      touch /bare/dev/null
      mount --bind /dev/null /bare/dev/null
      cp /bin/busybox /bare/bin/
      chroot /bare /bin/busybox --install -s /bin
      mount --bind /packages /bare/packages
      chroot /bare ${script("0.1.0")} || true
      umount /bare/packages /bare/dev/null
      test ! -e /bare/usr`);
    expect(out).toBe("");
    expect(err).toMatch(/^install.sh: glibc 2.17 or newer is missing: there is no \/lib\S*\/ld-linux-\S+\n$/);
  });

  it("rejects words and a prefix that it does not know", () => {
    const { out, err } = run(`
      ${script("0.1.0")} --help || true
      PREFIX=opt ${script("0.1.0")} || true
      PREFIX='/opt/a&b' ${script("0.1.0")} || true
      PREFIX='/opt/a b' ${script("0.1.0")} || true
      PREFIX=/opt ${script("0.1.0")} --uninstall || true
      # As a former version has installed it.
      mkdir -p '/opt/a b/bin' '/opt/a b/share/tulle'
      touch '/opt/a b/bin/tulle'
      echo '/opt/a b/bin/tulle' >'/opt/a b/share/tulle/installed-files'
      PREFIX='/opt/a b' DESTDIR=/ ${script("0.1.0")} --uninstall
      find '/opt/a b' -type f`);
    expect(out).toBe("");
    expect(err.trim().split("\n")).toEqual([
      "install.sh: unknown argument --help: give none to install, or --uninstall",
      "install.sh: PREFIX=opt: take an absolute path",
      "install.sh: PREFIX=/opt/a&b: take a path of letters, digits and . _ + - only",
      "install.sh: PREFIX=/opt/a b: take a path of letters, digits and . _ + - only",
      "install.sh: nothing is installed below /opt: there is no /opt/share/tulle/installed-files",
    ]);
  });
});
