import { expect, it } from "vitest";
import { describeWithEtcd, type Host, startPing, TULLE, useEtcdLab } from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };

describeWithEtcd("a lease that vanishes", () => {
  const net = useEtcdLab("leave", { hosts: 2, config: CONFIG });
  const knowsPeers = (host: Host, count: number) =>
    host.daemon.until(({ peers }) => peers.length === count, `knows ${count} peers`);
  const keyOf = (host: Host): string => `${host.subnetEnv().subnets[4]?.address}`.replace(/\.1$/, ".0-24");

  it("and is put back costs no packet, whoever puts it back", async () => {
    await net.startAll();
    const [watcher, leaver] = [net.host(1), net.host(2)];
    await Promise.all([knowsPeers(watcher, 1), knowsPeers(leaver, 1)]);
    const [from, to] = [watcher.addContainer(), leaver.addContainer()];
    const key = keyOf(leaver);
    const value = net.leases().get(key) ?? "";
    const running = startPing(from.netns, to.address);
    const readyAgain = () => expect.poll(() => net.leases().get(key), { timeout: 15_000 }).toBe(value);
    try {
      // Its daemon creates the key again.
      for (let round = 0; round < 3; round++) {
        net.delete(`subnets/${key}`);
        await readyAgain();
      }
      // After the daemon is killed, only an administrator puts the key back.
      await leaver.daemon.kill();
      net.delete(`subnets/${key}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
      net.put(`subnets/${key}`, value);
      await new Promise((resolve) => setTimeout(resolve, 2500));
    } finally {
      expect((await running.stop()).lost).toEqual([]);
    }
    await knowsPeers(watcher, 1);
  });

  it("for good ends at once, and not after the grace", async () => {
    const [watcher, leaver] = [net.host(1), net.host(2)];
    await watcher.daemon.stop();
    await watcher.daemon.start(...net.flags, "--leave-grace=1h", "--hold-down=2h");
    await leaver.daemon.start(...net.flags);
    await knowsPeers(watcher, 1);
    const key = keyOf(leaver);
    await leaver.daemon.stop();
    watcher.run(...TULLE, "lease", "revoke", key, "--yes", net.flags[0] ?? "");
    await knowsPeers(watcher, 0);
    expect(watcher.run("ip", "route", "show", "dev", "flannel.1")).toBe("");
  });
});
