/** A network that gets IPv6 or loses it, and hosts that lack an address of one family. */

import { expect, it } from "vitest";
import { cutOff } from "../support/cut.ts";
import { BOTH, expectReach, ONLY_IPV4 } from "../support/dual-stack.ts";
import { describeWithEtcd, type Host, ping, startPing, useEtcdLab } from "../support/hosts.ts";
import { addReadyContainer } from "../support/ready-container.ts";

describeWithEtcd("a host whose IPv6 address is missing", () => {
  const net = useEtcdLab("halved", { hosts: 3, config: BOTH, families: [4, 6] });

  it("has IPv6 on its tunnel alone, follows its IPv4 address without the other, and has both again", async () => {
    const [host, peer] = [net.host(2), net.host(3)];
    const forNewDevices = (value: number) =>
      host.run("sysctl", "-qw", `net.ipv6.conf.default.disable_ipv6=${value}`);
    forNewDevices(1);
    await Promise.all([host, peer].map(({ daemon }) => daemon.start(...net.flags)));
    forNewDevices(0);
    const [one, two] = [await addReadyContainer(host), await addReadyContainer(peer)];
    await expectReach(one, two);
    host.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global");
    await host.daemon.until(
      ({ problems, isReady }) => !isReady && problems.some((text) => /eth0 has .*IPv6/.test(text)),
      "misses the address",
    );
    host.netns.ip(
      "address delete 192.168.50.12/24 dev eth0",
      "address add 192.168.50.82/24 brd + dev eth0",
      "link set eth0 mtu 1400",
    );
    const lost = async () => (await ping(one.netns, two.address, 3)).lost.length;
    await expect.poll(lost, { timeout: 15_000 }).toBe(0);
    await expect.poll(() => host.subnetEnv().mtuBytes, { timeout: 15_000 }).toBe(1350);
    expect((await host.daemon.status())?.isReady).toBe(false);
    host.run("ip", "address", "add", `${host.addresses[6]}/64`, "dev", "eth0", "nodad");
    await host.daemon.until(({ isReady }) => isReady, "has both addresses");
    await expect.poll(() => host.subnetEnv().mtuBytes, { timeout: 15_000 }).toBe(1330);
    await expect.poll(lost, { timeout: 15_000 }).toBe(0);
    await expectReach(one, two);
  });
});

describeWithEtcd("a network that gets IPv6, and loses it again", () => {
  const net = useEtcdLab("live", { hosts: 2, config: ONLY_IPV4, families: [4, 6] });

  it("keeps every IPv4 subnet, and loses no packet", async () => {
    await net.startAll();
    const [one, two] = [await addReadyContainer(net.host(1)), await addReadyContainer(net.host(2))];
    const before = [...net.leases().keys()].sort();
    const running = startPing(one.netns, two.address);
    for (const config of [BOTH, ONLY_IPV4]) {
      net.putConfig(config);
      const isDual = config === BOTH;
      const pattern = isDual ? /^10\.2\.\d+\.0-24&fd00:2:/ : /^10\.2\.\d+\.0-24$/;
      const keys = () => [...net.leases().keys()].filter((key) => pattern.test(key));
      await expect.poll(keys, { timeout: 10_000 }).toHaveLength(2);
      expect(net.leases().size).toBe(2);
      for (const host of net.lab.hosts) {
        const lines = isDual ? 1 : 0;
        const hasLine = () => host.subnetFileText().split("FLANNEL_IPV6_SUBNET").length - 1;
        await expect.poll(hasLine, { timeout: 10_000 }).toBe(lines);
        await host.daemon.until(({ kernel, isReady }) => isReady && kernel.isConverged, "is at rest");
        const names = () => host.netns.ipJson(["link", "show"]).map(({ ifname }) => ifname);
        await expect.poll(() => names().includes("flannel-v6.1"), { timeout: 5_000 }).toBe(isDual);
      }
    }
    expect([...net.leases().keys()].sort()).toEqual(before);
    expect(net.host(1).run("ip6tables-save")).not.toContain("FLANNEL");
    const { lost, sent } = await running.stop();
    expect(lost).toEqual([]);
    expect(sent).toBeGreaterThan(10);
  });

  it("stays as it is where a host has no IPv6 address, and says so", async () => {
    const host = net.host(2);
    host.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global");
    net.putConfig(BOTH);
    const problems = async () => (await host.daemon.status())?.problems.join() ?? "";
    await expect.poll(problems, { timeout: 10_000 }).toContain("eth0 has only link-local IPv6 addresses");
    expect(await host.daemon.status()).toMatchObject({ isReady: true });
    host.run("ip", "address", "add", "fd00:50::77/64", "dev", "eth0", "nodad");
    await expect.poll(() => host.subnetFileText(), { timeout: 10_000 }).toContain("FLANNEL_IPV6_SUBNET");
  });

  it("stays as it is where no IPv6 subnet is free for a host, and says so", async () => {
    net.putConfig(ONLY_IPV4);
    const isIpv4 = (host: Host) => !host.subnetFileText().includes("IPV6_SUBNET");
    await expect.poll(() => net.lab.hosts.every(isIpv4), { timeout: 10_000 }).toBe(true);
    net.putConfig({ ...BOTH, IPv6SubnetMin: "fd00:2:0:1::", IPv6SubnetMax: "fd00:2:0:1::" });
    const waiting = () => net.lab.hosts.filter(isIpv4);
    await expect.poll(() => waiting().length, { timeout: 10_000 }).toBe(1);
    const { daemon } = waiting()[0] as Host;
    const problems = async () => (await daemon.status())?.problems.join() ?? "";
    await expect.poll(problems, { timeout: 10_000 }).toContain("no subnet is free");
    expect(await daemon.status()).toMatchObject({ isReady: true });
    await daemon.stop();
    await daemon.start(...net.flags);
    await expect.poll(problems, { timeout: 10_000 }).toContain("no subnet is free");
    expect(await daemon.status()).toMatchObject({ isReady: true });
    net.putConfig(BOTH);
    await expect.poll(() => waiting().length, { timeout: 10_000 }).toBe(0);
  });

  it("says nothing of an outage of the store that ended with the change", async () => {
    const { daemon, netns } = net.host(2);
    const restore = cutOff(netns);
    const problems = async () => (await daemon.status())?.problems.join() ?? "";
    await expect.poll(problems, { timeout: 30_000 }).toContain("out of reach");
    net.putConfig(ONLY_IPV4);
    restore();
    await expect.poll(() => net.host(2).subnetFileText(), { timeout: 20_000 }).not.toContain("IPV6_SUBNET");
    await daemon.until(({ isReady }) => isReady, "is ready");
    await expect.poll(problems, { timeout: 5_000 }).not.toContain("out of reach");
  });
});

describeWithEtcd("a host without an IPv6 address", () => {
  const net = useEtcdLab("no6", { hosts: 1, config: BOTH });

  it("waits, and says what is missing", async () => {
    const { daemon } = net.host(1);
    daemon.spawn(...net.flags);
    await expect
      .poll(() => daemon.log, { timeout: 10_000 })
      .toContain("eth0 has only link-local IPv6 addresses");
    net.host(1).run("ip", "address", "add", "fd00:50::77/64", "dev", "eth0", "nodad");
    await daemon.until(({ isReady }) => isReady, "is ready");
    expect([...net.leases().values()].join()).toContain('"PublicIPv6":"fd00:50::77"');
  });
});
