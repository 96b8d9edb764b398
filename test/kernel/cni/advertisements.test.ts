/** Router advertisements: a host that begins to forward keeps its own, and no container rules the others. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { advertise } from "../../support/advertise.ts";
import { CniHost, SUBNET_ENV } from "../../support/cni-host.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const ROUTER = { lifetimeSeconds: 1800, prefix: "2001:db8:1::" };

describeAsRoot("beside router advertisements, tulle-cni", () => {
  let host: CniHost;
  let router: TestNetns;

  beforeEach(() => {
    host = new CniHost("ra");
    router = createNetns("router");
    host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest]);
    host.netns.exec("sysctl", ["-qw", "net.ipv6.conf.default.accept_dad=0"]);
    router.exec("sysctl", ["-qw", "net.ipv6.conf.default.accept_dad=0"]);
    host.netns.ip(`link add up0 type veth peer name up0 netns ${router.name}`, "link set up0 up");
    host.netns.ip("link add quiet0 up type veth peer name quiet1");
    router.ip("link set up0 up");
  });
  afterEach(() => {
    host.dispose();
    router.dispose();
  });

  const setting = (name: string) => host.netns.exec("sysctl", ["-n", `net.ipv6.conf.${name}`]).trim();
  const defaults = (netns: TestNetns) => netns.ipJson(["-6", "route", "show", "default"]);
  const learn = async (prefix: string) => {
    const isLearned = () => {
      advertise(router, "up0", { ...ROUTER, prefix });
      return host.netns.exec("ip", ["-6", "address", "show", "dev", "up0"]);
    };
    await expect.poll(isLearned, { timeout: 5000 }).toContain(prefix.slice(0, -1));
  };

  it("keeps the host's default route and goes on accepting them", async () => {
    await learn("2001:db8:1::");
    expect(defaults(host.netns)).toHaveLength(1);
    expect(host.call("ADD", { container: host.addContainer() })).toMatchObject({ exitCode: 0 });
    expect([setting("all.forwarding"), setting("up0.accept_ra")]).toEqual(["1", "2"]);
    expect(defaults(host.netns)).toMatchObject([{ dev: "up0", protocol: "ra" }]);
    await learn("2001:db8:2::");
    expect(setting("quiet0.accept_ra")).toBe("1");
  });

  it("leaves accept_ra alone where the administrator switched it off", async () => {
    await learn("2001:db8:1::");
    host.netns.exec("sysctl", ["-qw", "net.ipv6.conf.up0.accept_ra=0"]);
    expect(host.call("ADD", { container: host.addContainer() })).toMatchObject({ exitCode: 0 });
    expect(setting("up0.accept_ra")).toBe("0");
  });

  it("lets no container become the router of another one, or of the host", async () => {
    const [one, two] = [host.addContainer(), host.addContainer()];
    for (const container of [one, two])
      expect(host.call("ADD", { container })).toMatchObject({ exitCode: 0 });
    const before = defaults(two.netns);
    const received = () => {
      advertise(one.netns, "eth0", { lifetimeSeconds: 1800, prefix: "2001:db8:66::" });
      return two.netns.exec("nft", ["list", "table", "ip6", "seen"]);
    };
    two.netns.exec("nft", [
      "add table ip6 seen; add chain ip6 seen in { type filter hook input priority 0; }; add rule ip6 seen in icmpv6 type nd-router-advert counter",
    ]);
    await expect.poll(received, { timeout: 5000 }).toMatch(/counter packets [1-9]/);
    expect(before).toMatchObject([{ gateway: "fd00:5:0:72::1" }]);
    expect(defaults(two.netns)).toEqual(before);
    expect(defaults(host.netns)).toEqual([]);
    for (const netns of [two.netns, host.netns])
      expect(netns.exec("ip", ["-6", "address"])).not.toContain("2001:db8:66:");
  });
});
