/**
 * The agent comes and goes; traffic does not notice. Watched with 100 packets each second and with the kernel's
 * own announcements: nothing that carries traffic may be withdrawn, changed or even written again.
 */

import { beforeAll, expect, it } from "vitest";
import { dataPathOf } from "../support/data-path.ts";
import {
  describeWithEtcd,
  type Host,
  MIN_PACKETS,
  type PingReport,
  startPing,
  useEtcdLab,
} from "../support/hosts.ts";
import { watchDevice } from "../support/monitor.ts";
import { SOON } from "../support/patience.ts";

/** Beyond SubnetMax is what others put into the network. */
const CONFIG = { Network: "10.2.0.0/16", SubnetMax: "10.2.99.0", Backend: { Type: "vxlan" } };

describeWithEtcd("a restart of the agent", () => {
  const net = useEtcdLab("restart", { hosts: 2, config: CONFIG });

  beforeAll(async () => {
    await net.startAll();
    for (const host of net.lab.hosts) host.addContainer();
  });

  /** One that was killed between two requests leaves a lease without a key, which ends with its TTL. */
  const storeLeases = (): readonly string[] => net.etcd.ctl("lease", "list").trim().split("\n").slice(1);
  const hasKeys = (lease: string): boolean =>
    /keys\(\[[^\]]+\]\)/.test(net.etcd.ctl("lease", "timetolive", lease, "--keys"));

  async function watchedPing(action: (host: Host) => Promise<void>): Promise<PingReport> {
    const host = net.host(1);
    const before = dataPathOf(host.netns);
    const leases = net.leases();
    const monitor = await watchDevice(host.netns, "flannel.1");
    const [from, to] = [host.containers[0], net.host(2).containers[0]];
    if (from === undefined || to === undefined) throw new Error("no containers");
    const running = startPing(from.netns, to.address);
    await action(host);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const report = await running.stop();
    expect(await monitor.stop()).toEqual([]);
    expect(dataPathOf(host.netns)).toBe(before);
    expect(net.leases()).toEqual(leases);
    return report;
  }

  it("loses no packet when it is stopped and started", async () => {
    const report = await watchedPing(async ({ daemon }) => {
      expect(await daemon.stop()).toBe(0);
      await daemon.start(...net.flags);
    });
    expect(report.lost).toEqual([]);
    expect(report.sent).toBeGreaterThan(MIN_PACKETS);
  });

  it("loses no packet when it is killed and started", async () => {
    const report = await watchedPing(async ({ daemon }) => {
      await daemon.kill();
      await daemon.start(...net.flags);
    });
    expect(report.lost).toEqual([]);
    expect(report.sent).toBeGreaterThan(MIN_PACKETS);
  });

  it("loses no packet when it is killed while it starts, again and again", async () => {
    const report = await watchedPing(async ({ daemon }) => {
      for (const delayMs of [40, 80, 120, 160, 200, 240]) {
        await daemon.kill();
        daemon.spawn(...net.flags);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
      await daemon.kill();
      await daemon.start(...net.flags);
    });
    expect(report.lost).toEqual([]);
  });

  it("keeps two store leases per host, of its subnet and of its record, however often it restarts", async () => {
    const { daemon } = net.host(1);
    const before = storeLeases();
    for (let count = 0; count < 3; count++) {
      await daemon.stop();
      await daemon.start(...net.flags);
      // It gives the former lease back beside other work.
      await expect.poll(() => storeLeases().length, SOON).toBe(before.length);
    }
    expect(storeLeases().filter(hasKeys)).toHaveLength(4);
  });

  it("removes what a peer left behind that went while the agent was down", async () => {
    const [host, peer] = [net.host(1), net.host(2)];
    const peerKey = `${peer.subnetEnv().subnets[4]?.address}`.replace(/\.1$/, ".0-24");
    await host.daemon.stop();
    await peer.daemon.stop();
    net.delete(`subnets/${peerKey}`);
    expect(host.run("ip", "route", "show", "dev", "flannel.1")).not.toBe("");
    await host.daemon.start(...net.flags);
    expect(host.run("ip", "route", "show", "dev", "flannel.1")).toBe("");
    expect(host.run("bridge", "fdb", "show", "dev", "flannel.1")).toBe("");
    await peer.daemon.start(...net.flags);
    await host.daemon.until(
      ({ peers, kernel }) => peers.length === 1 && kernel.isConverged,
      "knows its peer",
    );
    expect(host.run("ip", "route", "show", "dev", "flannel.1")).toContain(peerKey.replace("-24", "/24"));
  });

  /** Leases of five more hosts. */
  const MORE = [101, 102, 103, 104, 105].map((n) => `10.2.${n}.0-24`);
  const routes = (): string => net.host(1).run("ip", "route", "show", "dev", "flannel.1");

  async function learnMore(): Promise<void> {
    for (const [n, key] of MORE.entries()) {
      const BackendData = { VNI: 1, VtepMAC: `02:00:00:00:01:0${n}` };
      const PublicIP = `192.168.50.${101 + n}`;
      net.put(`subnets/${key}`, JSON.stringify({ PublicIP, BackendType: "vxlan", BackendData }));
    }
    await net.host(1).daemon.until(({ peers }) => peers.length === 6, "knows them");
  }

  it("keeps the peers of a store that was wiped meanwhile for the hold-down, and shows them", async () => {
    await learnMore();
    const report = await watchedPing(async ({ daemon }) => {
      await daemon.stop();
      const leases = net.leases();
      for (const key of leases.keys()) net.delete(`subnets/${key}`);
      await daemon.start(...net.flags, "--hold-down=10s");
      const held = (await daemon.status())?.peers.filter(({ isHeld }) => isHeld);
      expect(held?.length).toBeGreaterThanOrEqual(MORE.length);
      expect((await daemon.status())?.problems.join()).toMatch(/vanished peers are kept for now/);
      await expect.poll(() => net.leases().size, SOON).toBe(2);
      for (const [key, value] of leases) if (MORE.includes(key)) net.put(`subnets/${key}`, value);
    });
    expect(report.lost).toEqual([]);
    const { daemon } = net.host(1);
    await daemon.stop();
    for (const key of MORE) net.delete(`subnets/${key}`);
    await daemon.start(...net.flags, "--hold-down=5s");
    expect(routes()).toContain("10.2.105.0/24");
    await daemon.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "lets them go");
    expect(routes()).not.toContain("10.2.105.0/24");
  });

  it("uses a peer by its last good value where that was damaged meanwhile", async () => {
    await learnMore();
    const { daemon } = net.host(1);
    const before = routes();
    const [key = ""] = MORE;
    await daemon.stop();
    net.put(`subnets/${key}`, "{");
    await daemon.start(...net.flags);
    expect(routes()).toBe(before);
    expect((await daemon.status())?.problems.join()).toContain(key);
  });

  it("keeps the peers that are held, in the middle of a wiped store", async () => {
    const { daemon } = net.host(1);
    const gone = MORE;
    await learnMore();
    for (const key of gone) net.delete(`subnets/${key}`);
    await daemon.until(({ peers }) => peers.filter(({ isHeld }) => isHeld).length === 5, "holds them");
    const before = routes();
    await daemon.kill();
    await daemon.start(...net.flags, "--hold-down=15s");
    expect(routes()).toBe(before);
    expect(routes()).toContain("10.2.105.0/24");
    await daemon.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "lets them go");
    expect(routes()).not.toContain("10.2.105.0/24");
  });
});
