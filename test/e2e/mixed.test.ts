/** Hosts with flanneld and hosts with tulled form one network, and a host passes from the one to the other in traffic. */

import { spawn } from "node:child_process";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { FlannelPeer } from "../support/flannel-peer.ts";
import { type Container, describeWithEtcd, ping, startPing, useEtcdLab } from "../support/hosts.ts";
import { watchDevice } from "../support/monitor.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const FLANNEL_BASE = "10.2.7.0";

describeWithEtcd("one network with flannel", () => {
  const net = useEtcdLab("mixed", { hosts: 2, config: CONFIG });
  let flannel: FlannelPeer;
  let ours: Container;
  let theirs: Container;

  beforeAll(async () => {
    flannel = new FlannelPeer(net, net.host(2), FLANNEL_BASE);
    flannel.join("02:42:0a:02:07:01");
    await net.host(1).daemon.start(...net.flags);
    ours = net.host(1).addContainer();
    flannel.learnPeers();
    theirs = net.host(2).addContainer();
  });

  /** Until host1 sends to that address of the tunnel. */
  async function knowsPeer(mac: string): Promise<void> {
    const neighbours = () => net.host(1).run("ip", "neighbour", "show", "dev", "flannel.1");
    await expect.poll(neighbours, { timeout: 5_000, interval: 20 }).toContain(mac);
  }

  it("reaches containers behind flannel, and is reached by them", async () => {
    await knowsPeer(flannel.mac);
    expect((await ping(ours.netns, theirs.address, 5)).lost).toEqual([]);
    expect((await ping(theirs.netns, ours.address, 5)).lost).toEqual([]);
    expect((await ping(theirs.netns, ours.address, 2, { payloadBytes: 1422 })).lost).toEqual([]);
  });

  it("follows a flannel host whose tunnel address changes", async () => {
    const before = flannel.mac;
    flannel.changeMac("02:42:0a:02:07:02");
    await knowsPeer(flannel.mac);
    expect((await ping(ours.netns, theirs.address, 5)).lost).toEqual([]);
    expect(net.host(1).run("bridge", "fdb", "show", "dev", "flannel.1")).not.toContain(before);
  });

  it("forgets a flannel host whose lease ends, and learns it again", async () => {
    const routes = () => net.host(1).run("ip", "route", "show", "dev", "flannel.1");
    flannel.leave();
    await expect.poll(routes, { timeout: 5_000, interval: 20 }).toBe("");
    flannel.changeMac("02:42:0a:02:07:03");
    await knowsPeer(flannel.mac);
    expect((await ping(ours.netns, theirs.address, 5)).lost).toEqual([]);
  });

  it("takes a host over from flannel without a lost packet, with its subnet, address and device", async () => {
    const host = net.host(2);
    const key = `${FLANNEL_BASE}-24`;
    const device = () => host.netns.ipJson(["link", "show", "flannel.1"])[0];
    const before = device();
    const monitor = await watchDevice(host.netns, "flannel.1");
    const running = startPing(theirs.netns, ours.address);
    await host.daemon.start(...net.flags);
    await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { lost, sent } = await running.stop();
    expect(lost).toEqual([]);
    expect(sent).toBeGreaterThan(20);
    expect(device()).toMatchObject({ ifindex: before?.ifindex, address: flannel.mac });
    expect((await monitor.stop()).filter((line) => line.includes("Deleted"))).toEqual([]);
    expect([...net.leases().keys()].filter((name) => name === key)).toHaveLength(1);
    expect(net.leases().get(key)).toContain(flannel.mac);
    expect(host.subnetFileText()).toContain("FLANNEL_SUBNET=10.2.7.1/24");
  });

  it("gives the host back to flannel without a lost packet, and takes it once more", async () => {
    const host = net.host(2);
    const routes = () => host.run("ip", "route", "show", "dev", "flannel.1");
    const running = startPing(theirs.netns, ours.address);
    await host.daemon.stop();
    flannel.takeOver();
    expect(routes()).not.toContain("proto");
    await host.daemon.start(...net.flags);
    await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
    expect((await running.stop()).lost).toEqual([]);
    expect(routes()).toMatch(/^10\.2\.\d+\.0\/24 .* proto 116 onlink *\n$/);
  });

  it("leaves nothing on the host that flannel could not remove", async () => {
    const [peer] = flannel.leases().filter(({ base }) => base !== FLANNEL_BASE);
    if (peer === undefined) throw new Error("no lease of the other host");
    await net.host(2).daemon.stop();
    flannel.takeOver();
    flannel.forget(peer);
    expect(net.host(2).run("ip", "route", "show", "dev", "flannel.1")).toBe("");
    flannel.takeOver();
  });

  it("says that flanneld still runs on the host that it takes over", async () => {
    const host = net.host(2);
    const program = join(host.runDirectory, "flanneld");
    copyFileSync("/bin/sleep", program);
    const flanneld = spawn("nsenter", [`--net=${host.netns.path}`, program, "60"], { stdio: "ignore" });
    try {
      await expect.poll(() => host.run("cat", `/proc/${flanneld.pid}/comm`)).toBe("flanneld\n");
      await host.daemon.start(...net.flags);
      expect(host.daemon.log).toMatch(/error flanneld runs on this host as well; stop it: .* pid=\d+/);
    } finally {
      flanneld.kill();
    }
  });
});
