/** Changes of a host under a running agent: its address, its interface, its MTU, the configuration, a copied disk. */

import { cpSync } from "node:fs";
import { beforeAll, expect, it } from "vitest";
import { type Container, describeWithEtcd, type Host, ping, useEtcdLab } from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const WAIT = { timeout: 15_000, interval: 30 };

describeWithEtcd("a host that changes", () => {
  const net = useEtcdLab("change", { hosts: 4, config: CONFIG });
  let here: Container;
  let there: Container;

  beforeAll(async () => {
    const [host, peer] = [net.host(2), net.host(3)];
    await Promise.all([host, peer].map(({ daemon }) => daemon.start(...net.flags)));
    here = host.addContainer();
    there = peer.addContainer();
  });

  async function expectConnected(): Promise<void> {
    const answers = async () => (await ping(here.netns, there.address, 3)).lost.length;
    await expect.poll(answers, WAIT).toBe(0);
    expect((await ping(there.netns, here.address, 3)).lost).toEqual([]);
  }

  const subnetOf = (host: Host) => `${host.subnetEnv().subnets[4]?.address}`;
  const deviceOf = (host: Host) => host.netns.exec("ip", ["-d", "link", "show", "flannel.1"]);

  it("gets another address: the subnet stays, and the others send to the new one", async () => {
    const host = net.host(2);
    const subnet = subnetOf(host);
    host.netns.ip("address delete 192.168.50.12/24 dev eth0", ...asOnTheLan("192.168.50.82"));
    await expect
      .poll(() => net.host(3).run("bridge", "fdb", "show", "dev", "flannel.1"), WAIT)
      .toContain("dst 192.168.50.82");
    expect(deviceOf(host)).toContain("local 192.168.50.82");
    expect(subnetOf(host)).toBe(subnet);
    await expectConnected();
  });

  it("gets another MTU: device and subnet.env follow", async () => {
    const host = net.host(2);
    host.netns.ip("link set eth0 mtu 1400");
    await expect.poll(() => deviceOf(host), WAIT).toContain(" mtu 1350 ");
    await expect.poll(() => host.subnetFileText(), WAIT).toContain("FLANNEL_MTU=1350\n");
    host.netns.ip("link set eth0 mtu 1500");
    await expect.poll(() => host.subnetFileText(), WAIT).toContain("FLANNEL_MTU=1450\n");
    await expectConnected();
  });

  it("loses its link for a while: everything is there again with the link", async () => {
    const host = net.host(2);
    host.netns.ip("link set eth0 down");
    await new Promise((resolve) => setTimeout(resolve, 500));
    host.netns.ip("link set eth0 up", "route add default via 192.168.50.1");
    await expectConnected();
  });

  it("gets another network card: the device is created again on it", async () => {
    const host = net.host(2);
    const { lan } = net.lab;
    host.netns.ip("link delete eth0");
    await new Promise((resolve) => setTimeout(resolve, 300));
    host.netns.ip(`link add eth0 type veth peer name host2b netns ${lan.name}`);
    lan.ip("link set host2b master lan up");
    host.netns.ip(...asOnTheLan("192.168.50.12"));
    await host.daemon.until(
      ({ isReady, kernel }) => isReady && kernel.isConverged,
      "is ready on the new card",
    );
    expect(deviceOf(host)).toContain("local 192.168.50.12");
    await expectConnected();
  });

  it("is a copy of another host's disk: it takes an identity and a subnet of its own", async () => {
    const [original, copy] = [net.host(3), net.host(4)];
    cpSync(original.stateDirectory, copy.stateDirectory, { recursive: true });
    cpSync(`${original.runDirectory}/flannel`, `${copy.runDirectory}/flannel`, { recursive: true });
    await copy.daemon.start(...net.flags);
    expect(subnetOf(copy)).not.toBe(subnetOf(original));
    const macOf = (host: Host) => host.netns.ipJson(["link", "show", "flannel.1"])[0]?.address;
    expect(macOf(copy)).not.toBe(macOf(original));
    expect((await original.daemon.status())?.isReady).toBe(true);
    const box = copy.addContainer();
    await expect.poll(async () => (await ping(box.netns, there.address, 3)).lost.length, WAIT).toBe(0);
    await expectConnected();
  });

  it("hears of an option that can be applied in traffic, and of one that cannot", async () => {
    const { daemon } = net.host(2);
    net.putConfig({ Network: "10.2.0.0/16", Backend: { Type: "vxlan", DirectRouting: true } });
    await daemon.until(
      ({ peers }) => peers.length > 0 && peers.every(({ path }) => path === "direct"),
      "is direct",
    );
    await expectConnected();
    const { netns } = net.host(2);
    const routed = "192.168.50.0/24 via 192.168.50.1 dev eth0";
    // Routes on the link are looked at when something else of the host changes, or within a minute.
    netns.ip(`route prepend ${routed}`, "link set eth0 mtu 1400");
    await daemon.until(({ peers }) => peers.every(({ path }) => path === "tunnel"), "sends by no router");
    netns.ip(`route delete ${routed}`, "link set eth0 mtu 1500");
    await daemon.until(({ peers }) => peers.every(({ path }) => path === "direct"), "is direct again");
    await expectConnected();
    net.putConfig({ Network: "10.5.0.0/16", Backend: { Type: "vxlan", DirectRouting: true } });
    const { isReady } = await daemon.until(
      ({ problems }) => problems.some((text) => text.includes("Network")),
      "has complained",
    );
    expect(isReady).toBe(true);
    net.putConfig(CONFIG);
    await daemon.until(({ peers }) => peers.every(({ path }) => path === "tunnel"), "uses the tunnel again");
    await expectConnected();
  });
});

describeWithEtcd("a host without -iface", () => {
  const net = useEtcdLab("follow", { hosts: 3, config: CONFIG });
  let here: Container;
  let there: Container;
  const flags = () => net.flags.filter((flag) => !flag.startsWith("-iface"));

  beforeAll(async () => {
    const [host, peer] = [net.host(2), net.host(3)];
    const dynamic = "valid_lft 3600 preferred_lft 3600";
    host.netns.ip(
      "address flush dev eth0",
      `address add 192.168.50.12/24 brd + dev eth0 ${dynamic}`,
      "route add default via 192.168.50.1",
    );
    await Promise.all([host, peer].map(({ daemon }) => daemon.start(...flags())));
    here = host.addContainer();
    there = peer.addContainer();
  });

  const localOf = () =>
    / local (\S+) dev (\S+) /
      .exec(net.host(2).netns.exec("ip", ["-d", "link", "show", "flannel.1"]))
      ?.slice(1);
  const published = () => [...net.leases().values()].map((value) => JSON.parse(value).PublicIP).sort();

  async function expectFollowed(address: string, device: string): Promise<void> {
    await expect.poll(localOf, WAIT).toEqual([address, device]);
    await net.host(2).daemon.until(({ isReady, kernel }) => isReady && kernel.isConverged, "is ready again");
    const lost = async () => (await ping(here.netns, there.address, 3)).lost.length;
    await expect.poll(lost, WAIT).toBe(0);
    expect(published()).toEqual([address, "192.168.50.13"].sort());
  }

  it("waits for its address although there is a virtual one, and another interface with a default route", async () => {
    const { netns, daemon } = net.host(2);
    netns.ip(
      "link add eth1 up type veth peer name eth1p",
      "link set eth1p up",
      "address add 198.51.100.2/24 dev eth1",
      "route add default via 198.51.100.1 metric 200",
      "address flush dev eth0",
      "address add 192.168.50.99/32 dev eth0",
    );
    await daemon.until(
      ({ problems }) => problems.some((text) => text.includes("eth0 has lost its IPv4 address")),
      "has missed the address",
    );
    netns.ip("address add 192.168.50.12/24 brd + dev eth0", "route add default via 192.168.50.1 metric 100");
    await expectFollowed("192.168.50.12", "eth0");
    netns.ip(
      "address delete 192.168.50.99/32 dev eth0",
      "link delete eth1",
      "route delete default via 192.168.50.1",
      "route add default via 192.168.50.1",
    );
  });

  it("keeps its address when virtual addresses come", async () => {
    const { netns } = net.host(2);
    netns.ip(
      "address add 192.168.50.100/32 dev eth0",
      "address add 192.168.50.101/24 dev eth0",
      "address add 192.168.50.102/24 dev eth0 preferred_lft 0",
      // What follows from it shows that the host was examined after the addresses had come.
      "link set eth0 mtu 1400",
    );
    await expect.poll(() => net.host(2).subnetFileText(), WAIT).toContain("FLANNEL_MTU=1350\n");
    netns.ip("link set eth0 mtu 1500");
    await expectFollowed("192.168.50.12", "eth0");
  });

  it("keeps it over a restart, although the kernel would send from another one", async () => {
    const host = net.host(2);
    host.netns.ip("route replace default via 192.168.50.1 src 192.168.50.101");
    await host.daemon.kill();
    await host.daemon.start(...flags());
    await expectFollowed("192.168.50.12", "eth0");
  });

  it("follows it to a bridge, and back to the card under another name", async () => {
    const { netns } = net.host(2);
    netns.ip(
      "address flush dev eth0",
      "link add br0 up type bridge",
      "link set eth0 master br0",
      "address add 192.168.50.12/24 brd + dev br0",
      "route add default via 192.168.50.1",
    );
    await expectFollowed("192.168.50.12", "br0");
    netns.ip(
      "link delete br0",
      "link set eth0 down",
      "link set eth0 name ens7",
      "link set ens7 up",
      "address add 192.168.50.12/24 brd + dev ens7",
      "route add default via 192.168.50.1",
    );
    await expectFollowed("192.168.50.12", "ens7");
  });

  it("is not misled by a default route through its own tunnel", async () => {
    const host = net.host(2);
    host.netns.ip("route replace default dev flannel.1 metric 5");
    await host.daemon.kill();
    await host.daemon.start(...flags(), "-iface-regex=^(10\\.|192\\.168\\.)");
    await expectFollowed("192.168.50.12", "ens7");
    await host.daemon.kill();
    host.netns.ip("route delete default via 192.168.50.1");
    await host.daemon.start(...flags());
    await expectFollowed("192.168.50.12", "ens7");
    host.netns.ip("route delete default dev flannel.1", "route add default via 192.168.50.1");
  });

  it("waits for an address when it starts without one", async () => {
    const host = net.host(2);
    await host.daemon.kill();
    const { lan } = net.lab;
    host.netns.ip(`link add ens8 up type veth peer name host2c netns ${lan.name}`);
    lan.ip("link set host2c master lan up");
    host.daemon.spawn(...flags(), "-iface=ens8");
    await expect.poll(() => host.daemon.log, WAIT).toContain("no interface can carry the tunnel");
    host.netns.ip("address flush dev ens7", "address add 192.168.50.12/24 brd + dev ens8");
    await expectFollowed("192.168.50.12", "ens8");
  });
});

function asOnTheLan(address: string): readonly string[] {
  return [
    `address add ${address}/24 brd + dev eth0`,
    "link set eth0 up",
    "route add default via 192.168.50.1 dev eth0",
  ];
}
