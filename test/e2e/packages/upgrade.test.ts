/** Packages on a machine with systemd and traffic: an upgrade, a downgrade and a removal lose no packet. */

import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BootedHost, describeWithSystemd } from "../../support/booted-host.ts";
import { type Container, EtcdLab, ping, startPing } from "../../support/hosts.ts";
import { createNetns, type TestNetns } from "../../support/netns.ts";
import { PackageFolder } from "../../support/packages.ts";
import { SOON } from "../../support/patience.ts";

const ADDRESS = "192.168.50.31";

describeWithSystemd("packages under traffic", () => {
  const net = new EtcdLab("upgrade", {
    hosts: 1,
    isStoreApart: true,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });
  let packages: PackageFolder;
  let host: BootedHost;
  let here: TestNetns;
  let there: Container;

  beforeAll(async () => {
    packages = new PackageFolder();
    host = new BootedHost("upgrade");
    await net.build();
    await net.startAll();
    there = net.host(1).addContainer();
    const { lan } = net.lab;
    host.netns.ip(
      `link add eth0 type veth peer name booted netns ${lan.name}`,
      `address add ${ADDRESS}/24 dev eth0`,
      "link set eth0 up",
      "route add default via 192.168.50.1",
    );
    lan.ip("link set booted master lan up");
    const names = [
      ...(await packages.add("0.1.0", "deb", "tarball")),
      ...(await packages.add("0.2.0", "deb", "tarball")),
    ];
    const copies = names.map((name) => `cp "${join(packages.path, name)}" packages/`);
    // Images of containers have a policy that forbids starts of services; man-db indexes all pages of the machine.
    const remove = "rm -f usr/sbin/policy-rc.d var/lib/man-db/auto-update";
    await host.boot(["mkdir packages", ...copies, remove].join("\n"));
  });
  afterAll(async () => {
    host.dispose();
    await net.dispose();
    packages.dispose();
  });

  const service = (property: string): string => host.property("tulled.service", property);
  const isActive = (): boolean => service("ActiveState") === "active";
  const deb = (version: string): string => `/packages/tulle_${version}-1_*.deb`;
  const dpkg = (action: string, what: string): string =>
    host.run("sh", "-c", `DEBIAN_FRONTEND=noninteractive dpkg ${action} ${what} </dev/null 2>&1`);

  /** Waits after the action until another process is ready; throws when a packet was lost. */
  async function restartsUnderTraffic(action: () => unknown): Promise<void> {
    const before = service("MainPID");
    const running = startPing(there.netns, address());
    await action();
    await expect.poll(() => isActive() && service("MainPID") !== before, SOON).toBe(true);
    // What follows a restart counts as well.
    await ping(there.netns, address(), 50);
    const report = await running.stop();
    expect(report.lost).toEqual([]);
    expect(report.sent).toBeGreaterThan(50);
  }

  const address = (): string => subnet().replace(/1\/24$/, "2");
  const subnet = (): string =>
    /FLANNEL_SUBNET=(\S+)/.exec(host.run("cat", "/run/flannel/subnet.env"))?.[1] ?? "";

  /** As Docker does. */
  function addContainer(): TestNetns {
    const box = createNetns("upgrade-box");
    host.netns.ip(
      "link add docker0 type bridge",
      `address add ${subnet()} dev docker0`,
      "link set docker0 mtu 1450 up",
      `link add veth1 type veth peer name eth0 netns ${box.name}`,
      "link set veth1 master docker0 up",
    );
    box.ip(
      `address add ${address()}/24 dev eth0`,
      "link set eth0 up",
      `route add default via ${subnet().replace("/24", "")}`,
    );
    host.netns.exec("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    return box;
  }

  it("start nothing that was not configured", async () => {
    expect(dpkg("-i", deb("0.1.0"))).toContain("put the store's address into /etc/default/tulled");
    expect(service("ActiveState")).toBe("inactive");
    expect(service("UnitFileState")).toBe("disabled");
    const options = `${net.flags.join(" ")} --state-dir=/var/lib/tulle`;
    host.run("sh", "-c", `echo 'TULLED_OPTIONS="${options}"' > /etc/default/tulled`);
    host.systemctl("enable", "--now", "tulled.service");
    expect(isActive()).toBe(true);
    expect(host.run("journalctl", "--unit", "tulled.service")).not.toContain("is not a setting");
    here = addContainer();
    expect((await ping(here, there.address, 10)).lost).toEqual([]);
  });

  it.each(["0.2.0", "0.1.0"])("restart the daemon for version %s without a lost packet", async (version) => {
    await restartsUnderTraffic(() => dpkg("-i", deb(version)));
    expect(service("UnitFileState")).toBe("enabled");
    expect(host.run("dpkg-query", "--list", "tulle")).toContain(` ${version}-1 `);
  });

  it("do not wait for a store that is away", async () => {
    await restartsUnderTraffic(async () => {
      for (const member of net.etcd.members) await member.pause();
      dpkg("-i", deb("0.2.0"));
      for (const member of net.etcd.members) member.resume();
    });
  });

  it("leave the network when they are removed", async () => {
    const running = startPing(there.netns, address());
    dpkg("-r", "tulle");
    await ping(there.netns, address(), 50);
    expect((await running.stop()).lost).toEqual([]);
    expect(service("ActiveState")).toBe("inactive");
    expect(host.netns.ipJson(["link", "show", "type", "vxlan"])).toHaveLength(1);
  });

  it("remove the network and the state when they are purged", () => {
    const said = dpkg("-P", "tulle");
    expect(said).toContain("flannel.1");
    expect(host.netns.ipJson(["link", "show", "type", "vxlan"])).toEqual([]);
    expect(host.netns.exec("nft", ["list", "ruleset"])).not.toContain("flanneld");
    const left =
      "ls -d /var/lib/tulle /run/tulle /etc/default/tulled /etc/systemd/system/*.wants/tulle* 2>/dev/null";
    expect(host.run("sh", "-c", `${left} || true`)).toBe("");
  });

  it("of the archive's form restart the daemon as well, and stop it when they are uninstalled", async () => {
    const install = (version: string): string =>
      host.run("sh", "-c", `sh /packages/tulle-${version}-linux-*/install.sh 2>&1`);
    host.run("sh", "-c", 'cd /packages; for file in *.tar.gz; do tar -xf "$file"; done');
    expect(install("0.1.0")).toContain("systemctl enable --now tulled");
    host.run("sh", "-c", `echo 'TULLED_OPTIONS="${net.flags.join(" ")}"' > /etc/default/tulled`);
    host.systemctl("enable", "--now", "tulled.service");
    await restartsUnderTraffic(() => install("0.2.0"));
    await restartsUnderTraffic(() => install("0.1.0"));
    const before = service("MainPID");
    dpkg("--force-confold --install", deb("0.2.0"));
    expect(dpkg("-P", "tulle")).toContain("its state and network stay");
    expect(service("MainPID")).toBe(before);
    expect(service("UnitFileState")).toBe("enabled");
    expect(host.run("cat", "/etc/default/tulled")).toContain(net.flags[0]);
    dpkg("--force-confold --install", deb("0.2.0"));
    const said = host.run("/usr/local/share/tulle/install.sh", "--uninstall");
    expect(said).toContain("/usr/lib/systemd/system/tulled.service is another installation's");
    expect(service("FragmentPath")).toMatch(/\/lib\/systemd\/system\/tulled\.service$/);
    dpkg("-r", "tulle");
    expect(service("LoadState")).toBe("not-found");
    expect(host.netns.ipJson(["link", "show", "type", "vxlan"])).toHaveLength(1);
  });
});
