/** Networks with the backend udp: packets between containers, what flannel's hosts expect in store and kernel, restarts. */

import { expect, it } from "vitest";
import {
  type Container,
  describeWithEtcd,
  type Host,
  ping,
  startPing,
  useEtcdLab,
} from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "udp" } };

describeWithEtcd("a network with the backend udp", () => {
  const net = useEtcdLab("udp", { hosts: 2, config: CONFIG });
  let one: Container;
  let two: Container;

  const reach = async (from: Container, to: Container) => (await ping(from.netns, to.address, 20)).lost;

  it("carries packets both ways, also those as large as subnet.env says", async () => {
    await net.startAll();
    one = net.host(1).addContainer();
    two = net.host(2).addContainer();
    await expect.poll(() => reach(one, two), { timeout: 10_000 }).toEqual([]);
    expect(await reach(two, one)).toEqual([]);
    expect(net.host(1).subnetEnv().mtuBytes).toBe(1472);
    expect(await ping(one.netns, two.address, 5, { payloadBytes: 1472 - 28 })).toMatchObject({ lost: [] });
  });

  it("has flannel's lease, device, address and route", () => {
    const host = net.host(1);
    const base = host.subnetEnv().subnets[4]?.address.plus(-1);
    const [value = ""] = [...net.leases()].flatMap(([key, text]) => (key === `${base}-24` ? [text] : []));
    expect(JSON.parse(value)).toMatchObject({ PublicIP: host.address, PublicIPv6: null });
    expect(JSON.parse(value)).not.toHaveProperty("BackendType");
    expect(JSON.parse(value)).not.toHaveProperty("BackendData");
    expect(host.netns.ipJson(["-d", "link", "show", "dev", "flannel0"])).toMatchObject([
      { mtu: 1472, linkinfo: { info_kind: "tun", info_data: { type: "tun" } } },
    ]);
    expect(host.netns.exec("ip", ["-o", "-4", "address", "show", "dev", "flannel0"])).toContain(`${base}/32`);
    expect(host.netns.exec("ip", ["route", "show", "dev", "flannel0"])).toMatch(/^10\.2\.0\.0\/16 /);
    expect(host.netns.exec("ip", ["route", "show", "dev", "flannel0"]).trim().split("\n")).toHaveLength(1);
  });

  it("makes the device again when somebody deletes it", async () => {
    net.host(1).netns.ip("link delete flannel0");
    await expect.poll(() => reach(one, two), { timeout: 15_000 }).toEqual([]);
  });

  it("keeps device, address, route and connections over a restart", async () => {
    const host: Host = net.host(1);
    const index = () => host.netns.ipJson(["link", "show", "dev", "flannel0"])[0]?.ifindex;
    const before = index();
    const pings = startPing(two.netns, one.address);
    await host.daemon.stop();
    expect(index()).toBe(before);
    await host.daemon.start(...net.flags);
    await expect.poll(() => reach(one, two), { timeout: 10_000 }).toEqual([]);
    await pings.stop();
    expect(index()).toBe(before);
  });
});
