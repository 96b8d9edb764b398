/** host-gw in one network with flannel, whose host is played by hand, and beside routes of other programs. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import {
  type Container,
  describeWithEtcd,
  type Host,
  ping,
  startPing,
  useEtcdLab,
} from "../support/hosts.ts";

const CONFIG = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  // The leases that the test makes lie beyond what the hosts may lease, except the one that a host takes over, which no other
  // host leases because it is there first.
  SubnetMin: "10.2.16.0",
  SubnetMax: "10.2.63.0",
  Backend: { Type: "host-gw" },
};
const KEY = "10.2.20.0-24&fd00:2:0:7::-64";

describeWithEtcd("host-gw in one network with flannel", () => {
  const net = useEtcdLab("gateway", { hosts: 2, config: CONFIG, families: [4, 6] });
  let ours: Container;
  let theirs: Container;

  const addressOf = ({ netns }: Host, family: "-4" | "-6"): string =>
    /inet6? ([^/]+)\//.exec(
      netns.exec("ip", [family, "-o", "address", "show", "dev", "eth0", "scope", "global"]),
    )?.[1] ?? "";
  const publish = (): void => {
    const host = net.host(2);
    const [v4, v6] = [addressOf(host, "-4"), addressOf(host, "-6")];
    net.put(`subnets/${KEY}`, `{"PublicIP":"${v4}","PublicIPv6":"${v6}","BackendType":"host-gw"}`);
  };
  /** What flanneld programs for each lease: a route of its own for each family, without a protocol number of ours. */
  const learnPeers = (): void => {
    for (const [key, value] of net.leases()) {
      if (key === KEY) continue;
      const { PublicIP, PublicIPv6 } = JSON.parse(value) as { PublicIP: string; PublicIPv6: string };
      const [subnet4 = "", subnet6 = ""] = key.split("&").map((part) => part.replace(/-(\d+)$/, "/$1"));
      net
        .host(2)
        .netns.ip(
          `route replace ${subnet4} via ${PublicIP} dev eth0`,
          `route replace ${subnet6} via ${PublicIPv6} dev eth0`,
        );
    }
  };
  const routes = (number: number): readonly string[] =>
    ["-4", "-6"].flatMap((family) =>
      net
        .host(number)
        .run("ip", family, "route", "show")
        .split("\n")
        .filter((line) => /^(10\.2\.|fd00:2:).* via /.test(line)),
    );

  beforeAll(async () => {
    const host = net.host(2);
    publish();
    const directory = join(host.runDirectory, "flannel");
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, "subnet.env"),
      "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.20.1/24\nFLANNEL_IPV6_NETWORK=fd00:2::/48\n" +
        "FLANNEL_IPV6_SUBNET=fd00:2:0:7::1/64\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n",
    );
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    await net.host(1).daemon.start(...net.flags);
    ours = net.host(1).addContainer();
    learnPeers();
    theirs = host.addContainer();
  });

  it("reaches containers behind flannel in both families, and is reached by them", async () => {
    expect(routes(1)).toHaveLength(2);
    for (const [family, address] of entriesOf(theirs.addresses)) {
      const lost = async () => (await ping(ours.netns, address, 3)).lost;
      await expect.poll(lost, { timeout: 20_000, message: `IPv${family}` }).toEqual([]);
      expect((await ping(theirs.netns, ours.addresses[family] ?? "", 3)).lost).toEqual([]);
    }
    expect(await net.host(1).daemon.status()).toMatchObject({ isReady: true, problems: [] });
  });

  it("takes the host over from flannel without a lost packet, with its subnets", async () => {
    const running = Object.values(ours.addresses).map((address) => startPing(theirs.netns, address));
    const { daemon } = net.host(2);
    await daemon.start(...net.flags);
    await daemon.until(({ peers }) => peers.length === 1, "knows the other host");
    const reports = await Promise.all(running.map((each) => each.stop()));
    expect(reports.map(({ lost }) => lost)).toEqual([[], []]);
    expect([...net.leases().keys()]).toContain(KEY);
    expect(routes(2)).toHaveLength(2);
  });

  it("names a rule of this host that drops packets to the peer's containers", async () => {
    const { daemon, netns } = net.host(1);
    const causes = async () => (await daemon.status())?.causes.map(({ code }) => code);
    const state = async () => (await daemon.status())?.peers.map(({ health }) => health?.state);
    await expect.poll(state, { timeout: 60_000 }).toEqual(["good"]);
    netns.exec("nft", [
      "add table inet fault; add chain inet fault c { type filter hook output priority -500; }; " +
        "add rule inet fault c ip daddr 10.2.20.0/24 drop",
    ]);
    await expect.poll(causes, { timeout: 60_000 }).toEqual(["local-firewall"]);
    netns.exec("nft", ["delete table inet fault"]);
    await expect.poll(causes, { timeout: 60_000 }).toEqual([]);
    await expect.poll(state, { timeout: 60_000 }).toEqual(["good"]);
  });

  it("keeps a foreign route to a peer's subnet, shows it, and programs its own when that is gone", async () => {
    const host = net.host(1);
    const foreign = "10.2.99.0/24 via 192.168.50.222 dev eth0";
    host.netns.ip(`route add ${foreign}`);
    const value = '{"PublicIP":"192.168.50.99","PublicIPv6":"fd00:50::99","BackendType":"host-gw"}';
    net.put("subnets/10.2.99.0-24&fd00:2:0:99::-64", value);
    net.put("subnets/10.2.98.0-24&fd00:2:0:98::-64", value.replaceAll("99", "98"));
    await expect
      .poll(() => routes(1).join(), { timeout: 10_000 })
      .toContain("10.2.98.0/24 via 192.168.50.98");
    const problems = async () => (await host.daemon.status())?.problems.join() ?? "";
    await expect.poll(problems, { timeout: 10_000 }).toContain("10.2.99.0");
    expect(routes(1).join()).toContain(foreign);
    host.netns.ip(`route delete ${foreign}`);
    await expect
      .poll(() => routes(1).join(), { timeout: 10_000 })
      .toMatch(/10\.2\.99\.0\/24 via 192\.168\.50\.99/);
    await expect.poll(problems, { timeout: 10_000 }).toBe("");
  });
});
