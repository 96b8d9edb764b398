/** Hosts show each other's names; a host of flannel's has none, and a damaged record costs one line. */

import { execFileSync } from "node:child_process";
import { hostname } from "node:os";
import { beforeAll, expect, it } from "vitest";
import { FlannelPeer } from "../support/flannel-peer.ts";
import { describeWithEtcd, TULLE, useEtcdLab } from "../support/hosts.ts";

/** Leaves subnets that the tests write by hand out of what hosts lease. */
const CONFIG = {
  Network: "10.2.0.0/16",
  SubnetMin: "10.2.100.0",
  SubnetMax: "10.2.199.0",
  Backend: { Type: "vxlan" },
};

describeWithEtcd("names of hosts", () => {
  const net = useEtcdLab("names", { hosts: 3, config: CONFIG });
  const records = (): readonly string[] =>
    net.etcd.ctl("get", "--prefix", "--keys-only", `${net.prefix}/tulle/hosts/`).split("\n").filter(Boolean);
  const tulle = (...args: readonly string[]): string => net.host(1).run(...TULLE, ...args);

  beforeAll(async () => {
    new FlannelPeer(net, net.host(3), "10.2.7.0").join("02:42:0a:02:07:01");
    for (const number of [1, 2]) await net.host(number).daemon.start(...net.flags);
  });

  it("are in the status of peers that run tulled, and in no other's", async () => {
    const { peers } = await net
      .host(1)
      .daemon.until(({ peers }) => peers.some(({ host }) => host !== undefined), "knows the name of a peer");
    const named = peers.filter(({ key }) => key !== "10.2.7.0-24");
    expect(named).toHaveLength(1);
    expect(named[0]?.host).toMatchObject({
      name: hostname(),
      kernel: execFileSync("uname", ["-r"], { encoding: "utf8" }).trim(),
    });
    expect(named[0]?.host?.backends).toContain("vxlan");
    expect(peers.find(({ key }) => key === "10.2.7.0-24")).not.toHaveProperty("host");
    expect(records()).toHaveLength(2);
  });

  it("are listed with leases", () => {
    const leases = JSON.parse(tulle("leases", "--json", `--etcd-endpoints=${net.etcd.endpoints.join()}`));
    const names = Object.fromEntries(
      leases.map((one: { key: string; host: { name: string } | null }) => [one.key, one.host?.name ?? null]),
    );
    expect(Object.values(names).filter((name) => name === hostname())).toHaveLength(2);
    expect(names["10.2.7.0-24"]).toBeNull();
  });

  it("are not written again by a restart", async () => {
    const revisions = (): string =>
      net.etcd
        .ctl("get", "--prefix", "-w", "json", `${net.prefix}/tulle/hosts/`)
        .replace(/"header":\{[^}]*\}/, "");
    const before = revisions();
    await net.host(2).daemon.stop();
    await net.host(2).daemon.start(...net.flags);
    await net
      .host(2)
      .daemon.until(({ peers }) => peers.some(({ host }) => host !== undefined), "knows the name of a peer");
    expect(revisions()).toBe(before);
  });

  it("that are damaged cost one line, and nothing else", async () => {
    const before = await net.host(1).daemon.status();
    net.put(`tulle/hosts/${"a".repeat(32)}`, '{"name": "<script>alert(1)</script>"}');
    net.put("tulle/hosts/x", "y".repeat(10_000));
    const shows = (problems: readonly string[]): boolean =>
      problems.some((text) => text.startsWith("host record"));
    const { problems, isReady, peers } = await net
      .host(1)
      .daemon.until((status) => shows(status.problems), "shows the damage");
    expect(problems.filter((text) => text.startsWith("host record"))).toHaveLength(1);
    expect(isReady).toBe(true);
    expect(peers.map(({ key }) => key)).toEqual(before?.peers.map(({ key }) => key));
    net.delete(`tulle/hosts/${"a".repeat(32)}`);
    net.delete("tulle/hosts/x");
    await net.host(1).daemon.until((status) => !shows(status.problems), "has forgotten the damage");
  });
});
