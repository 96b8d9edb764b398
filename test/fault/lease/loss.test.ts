/** The agent loses its lease in every way there is, while its containers talk. */

import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { beforeAll, beforeEach, expect, it } from "vitest";
import { describeWithEtcd, type Host, type PingReport, startPing, useEtcdLab } from "../../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const TTL_SECONDS = 4;
const WAIT = { timeout: 20_000, interval: 50 };

describeWithEtcd("a lease that is lost", () => {
  const net = useEtcdLab("lost", { hosts: 3, config: CONFIG });
  const flags = (): readonly string[] => [...net.flags, `--subnet-lease-ttl=${TTL_SECONDS}s`];

  beforeAll(async () => {
    for (const number of [1, 2]) await net.host(number).daemon.start(...flags());
    for (const number of [1, 2]) net.host(number).addContainer();
  });

  beforeEach(async () => {
    for (const number of [1, 2]) {
      await net.host(number).daemon.until(({ isReady, peers }) => isReady && peers.length === 1, "is whole");
    }
  });

  const keyOf = async (host: Host): Promise<string> => (await host.daemon.status())?.lease.key ?? "";

  /** Routes that the host has for `key` through the tunnel. */
  const tunnelRoutes = (host: Host, key: string): string =>
    host.netns.exec("ip", ["route", "show", key.replace("-", "/"), "dev", "flannel.1"]);

  /** Runs `action` while a container of the first host pings one of the second. */
  async function whilePinging(action: () => Promise<void>): Promise<PingReport> {
    const [from, to] = [net.host(1).containers[0], net.host(2).containers[0]];
    if (from === undefined || to === undefined) throw new Error("no containers");
    const running = startPing(from.netns, to.address);
    await action();
    return await running.stop();
  }

  it("because its key was deleted: it is there again at once", async () => {
    const host = net.host(2);
    const key = await keyOf(host);
    const { sent, lost } = await whilePinging(async () => {
      const before = net.leases().get(key);
      net.delete(`subnets/${key}`);
      await expect.poll(() => net.leases().get(key), WAIT).toBe(before);
      await delay(1500);
      expect((await host.daemon.status())?.lease).toMatchObject({ key, state: "held" });
    });
    // A peer cannot tell this from a host that leaves, and may miss it for the moment that the store needs to write.
    expect(sent).toBeGreaterThan(40);
    expect(lost.filter((number) => number > sent - 20)).toEqual([]);
  });

  it("because the agent was stopped for longer than it lasts: peers are told, and it comes back", async () => {
    const host = net.host(2);
    const key = await keyOf(host);
    const pid = host.daemon.pid ?? 0;
    process.kill(pid, "SIGSTOP");
    try {
      await expect.poll(() => net.leases().has(key), WAIT).toBe(false);
      await expect.poll(() => tunnelRoutes(net.host(1), key), WAIT).toBe("");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await host.daemon.until(({ isReady, lease }) => isReady && lease.key === key, "has its lease again");
    expect(net.leases().has(key)).toBe(true);
    await expect.poll(() => tunnelRoutes(net.host(1), key), WAIT).toContain("onlink");
  });

  it("to another host: it is not ready, says whose it is, and sends nothing of its own into the tunnel", async () => {
    const host = net.host(2);
    const key = await keyOf(host);
    const text =
      '{"PublicIP":"192.168.50.99","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}';
    net.put(`subnets/${key}`, text);
    const status = await host.daemon.until(({ isReady }) => !isReady, "is not ready");
    expect(status.lease).toMatchObject({ key, state: "conflict" });
    expect(status.lease.reason).toContain("192.168.50.99");
    expect(status.lease.reason).toContain(host.address);
    await delay(1000);
    expect(tunnelRoutes(host, key)).toBe("");
    expect(net.leases().get(key)).toBe(text);
    net.delete(`subnets/${key}`);
    await host.daemon.until(({ isReady }) => isReady, "has its free key again");
    expect(await keyOf(host)).toBe(key);
  });

  it("to another host with its own address: it never takes it back, and names both", async () => {
    const host = net.host(2);
    const key = await keyOf(host);
    const text = (net.leases().get(key) ?? "").replace(/"NodeID":"[^"]*"/, `"NodeID":"${"ab".repeat(16)}"`);
    net.put(`subnets/${key}`, text);
    const { lease } = await host.daemon.until(({ isReady }) => !isReady, "is not ready");
    expect(lease.reason).toContain("ab".repeat(16));
    expect(lease.reason).toContain("-public-ip");
    await delay(TTL_SECONDS * 1000);
    expect(net.leases().get(key)).toBe(text);
    net.delete(`subnets/${key}`);
    await host.daemon.until(({ isReady }) => isReady, "has its free key again");
  });

  it("to another host, with --on-lease-lost=renumber: it takes another subnet and says so in subnet.env", async () => {
    const host = net.host(3);
    await host.daemon.start(...flags(), "--on-lease-lost=renumber");
    const key = await keyOf(host);
    const file = host.subnetFileText();
    net.put(
      `subnets/${key}`,
      '{"PublicIP":"192.168.50.98","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:98"}}',
    );
    const status = await host.daemon.until(
      ({ isReady, lease }) => isReady && lease.key !== key,
      "has another subnet",
    );
    await expect.poll(() => host.subnetFileText(), WAIT).not.toBe(file);
    const base = status.lease.key.replace(/-.*/, "");
    await expect
      .poll(() => host.netns.exec("ip", ["-o", "-4", "address", "show", "dev", "flannel.1"]), WAIT)
      .toContain(`${base}/32`);
    await expect.poll(() => tunnelRoutes(host, key), WAIT).toContain("onlink");
    await expect.poll(() => tunnelRoutes(net.host(1), status.lease.key), WAIT).toContain("onlink");
    expect(await host.daemon.stop()).toBe(0);
    net.delete(`subnets/${key}`);
    net.delete(`subnets/${status.lease.key}`);
  });
});
