/**
 * A network whose range holds the hosts' own addresses, as flannel allows it and its documentation has it: tunnel
 * packets of the hosts must not be taken for forged ones of containers.
 */

import { expect, it } from "vitest";
import { type Container, describeWithEtcd, ping, useEtcdLab } from "../support/hosts.ts";

async function expectBothWays(one: Container, other: Container): Promise<void> {
  expect((await ping(one.netns, other.address, 3)).lost).toEqual([]);
  expect((await ping(other.netns, one.address, 3)).lost).toEqual([]);
}

describeWithEtcd("a network around its hosts", () => {
  const net = useEtcdLab("inside", {
    hosts: 2,
    config: {
      Network: "192.168.0.0/16",
      SubnetMin: "192.168.100.0",
      SubnetMax: "192.168.199.0",
      Backend: { Type: "vxlan" },
    },
  });

  it("carries packets between containers", async () => {
    await net.startAll();
    const [one, other] = net.lab.hosts.map((host) => host.addContainer());
    if (one === undefined || other === undefined) throw new Error("no containers");
    await Promise.all(
      net.lab.hosts.map(({ daemon }) => daemon.until(({ peers }) => peers.length === 1, "sees")),
    );
    await expectBothWays(one, other);
  });
});

describeWithEtcd("a network around one of its hosts only", () => {
  const net = useEtcdLab("inside1", {
    hosts: 2,
    config: { Network: "10.99.0.0/16", Backend: { Type: "vxlan" } },
  });
  const INSIDE = "10.99.0.2";

  it("carries packets between containers, also after that host came last", async () => {
    const [outside, inside] = [net.host(1), net.host(2)];
    inside.netns.ip(`address add ${INSIDE}/32 dev eth0`);
    outside.netns.ip(`route add ${INSIDE}/32 dev eth0`);
    await outside.daemon.start(...net.flags);
    const firewall = () => outside.run("iptables-save", "-t", "raw");
    expect(firewall()).toContain("-A FLANNEL-TUN-IN -s 10.99.0.0/16");
    await inside.daemon.start(...net.flags, `-public-ip=${INSIDE}`, `-iface=${INSIDE}`);
    await expect.poll(firewall, { timeout: 10_000 }).not.toContain("-A FLANNEL-TUN-IN -s 10.99.0.0/16");
    await expectBothWays(outside.addContainer(), inside.addContainer());
  });
});
