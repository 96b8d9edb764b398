/** What the kernel really answers where a rule or a route is in the way of a peer. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { checkRouting, type RoutedPeer } from "../../../agent/routing/routing-check.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Address, type PerFamily, Prefix } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const PEER: RoutedPeer = {
  key: "10.2.3.0-24",
  subnets: [Prefix.parse("10.2.3.0/24"), Prefix.parse("fd00:2:3::/64")],
  publicAddresses: [Address.parse("192.168.50.12")],
  devices: ["flannel.1"],
  routers: null,
};

describeAsRoot("routing check", () => {
  let netns: TestNetns;
  let connection: NetlinkConnection;

  beforeEach(() => {
    netns = createNetns("routing");
    netns.ip(
      "link add eth0 type bridge",
      "link add eth1 type bridge",
      "link add flannel.1 type bridge",
      "link add cni0 type bridge",
      "address add 192.168.50.11/24 dev eth0",
      "address add 10.2.1.1/24 dev cni0",
      ...["eth0", "eth1", "flannel.1", "cni0"].map((name) => `link set ${name} up`),
      "route add default via 192.168.50.1",
      "route add 10.2.3.0/24 dev flannel.1",
      "route add fd00:2:3::/64 dev flannel.1",
    );
    const handle = NetnsHandle.open(netns.path);
    connection = NetlinkConnection.open({ netns: handle });
    handle.close();
  });
  afterEach(() => {
    connection.close();
    netns.dispose();
  });

  function problems(peers = [PEER], interfaces: PerFamily<string> = { 4: "eth0" }): readonly string[] {
    const ownAddresses = [Address.parse("10.2.1.1"), Address.parse("10.99.0.1")];
    const sources = { 4: Address.parse("192.168.50.11") };
    const options = { peers, interfaces, sources, ownAddresses, withLongerRoutes: true };
    return checkRouting(connection, options).map(({ message }) => message);
  }

  it("finds nothing where nothing is in the way, whatever else is there", () => {
    netns.ip("rule add from all lookup 52 priority 5270", "route add 172.16.0.0/12 dev eth1 table 52");
    expect(problems()).toEqual([]);
  });

  it("finds nothing where the kernel shows only the ids of nexthop objects", () => {
    netns.exec("sysctl", ["-qw", "net.ipv4.nexthop_compat_mode=0"]);
    netns.ip(
      "nexthop add id 7 via 10.2.3.0 dev flannel.1 onlink",
      "nexthop add id 8 via fd00:2:3:: dev flannel.1 onlink",
      "route replace 10.2.3.0/24 nhid 7",
      "route del fd00:2:3::/64",
      "route add fd00:2:3::/64 nhid 8",
    );
    expect(problems()).toEqual([]);
    netns.ip("nexthop add id 9 via 192.168.50.77 dev eth0", "route add 10.2.3.0/25 nhid 9");
    expect(problems()).toContainEqual(expect.stringContaining("leave by eth0, not flannel.1"));
  });

  it.each<[string, string[], string]>([
    [
      "a rule before main",
      ["route add 10.2.0.0/16 dev eth1 table 52", "rule add from all lookup 52 priority 5270"],
      'packets to 10.2.3.1 leave by eth1, not flannel.1: rule "5270: from all lookup 52", route 10.2.0.0/16 of table 52',
    ],
    [
      "a rule for the containers' sources",
      ["route add default dev eth1 table 100", "rule add from 10.2.0.0/16 lookup 100 priority 7"],
      'packets to 10.2.3.1 leave by eth1, not flannel.1: rule "7: from 10.2.0.0/16 lookup 100", route 0.0.0.0/0 of table 100',
    ],
    [
      "a longer route",
      ["route add 10.2.3.0/25 dev eth1"],
      "leave by eth1, not flannel.1: route 10.2.3.0/25 of table main",
    ],
    [
      "a longer route elsewhere in the subnet",
      ["route add 10.2.3.192/26 dev eth1"],
      "packets to a part of 10.2.3.0/24 take the longer foreign route 10.2.3.192/26 dev eth1",
    ],
    [
      "a blackhole",
      ["route add blackhole 10.2.3.0/30"],
      "are discarded: blackhole route 10.2.3.0/30 of table main",
    ],
    [
      "an unreachable route",
      ["route add unreachable 10.2.3.0/30"],
      "unreachable route 10.2.3.0/30 of table main",
    ],
    ["a prohibit route", ["route add prohibit 10.2.3.0/30"], "prohibit route 10.2.3.0/30 of table main"],
    ["an IPv6 unreachable route", ["route add unreachable fd00:2:3::/80"], "unreachable route fd00:2:3::/80"],
    [
      "a prohibit rule",
      ["rule add to 10.2.3.0/24 prohibit priority 90"],
      'are discarded: rule "90: from all to 10.2.3.0/24 prohibit"',
    ],
    [
      "a missing route",
      ["route del 10.2.3.0/24"],
      "packets to 10.2.3.1 leave by eth0, not flannel.1: route 0.0.0.0/0 of table main",
    ],
    [
      "an unreachable public address",
      ["route add unreachable 192.168.50.12"],
      "packets to 192.168.50.12 are discarded",
    ],
    [
      "a rule for tunnel packets",
      ["route add blackhole default table 100", "rule add from 192.168.50.11 lookup 100 priority 7"],
      "packets to 192.168.50.12 are discarded: blackhole route 0.0.0.0/0 of table 100",
    ],
    [
      "a peer's public address on this host",
      ["address add 192.168.50.12/32 dev lo", "link set lo up"],
      "packets to 192.168.50.12 do not leave this host, which has that address itself (lo)",
    ],
    [
      "another interface for tunnel packets",
      ["route add 192.168.50.12/32 dev eth1"],
      "packets to 192.168.50.12 leave by eth1, not eth0: route 192.168.50.12/32 of table main",
    ],
  ])("names %s", (_name, lines, expected) => {
    netns.ip(...lines);
    expect(problems().join("\n")).toContain(expected);
    expect(problems().join("\n")).toContain("lease 10.2.3.0-24: ");
  });

  it("lets tunnel packets leave by any interface where none is named", () => {
    netns.ip("route add 192.168.50.12/32 dev eth1");
    expect(problems([PEER], {})).toEqual([]);
  });

  it("counts the peers behind one cause", () => {
    netns.ip("route add 10.2.0.0/16 dev eth1 table 52", "rule add from all lookup 52 priority 5270");
    const peers = [3, 4, 5].map((number) => ({
      ...PEER,
      key: `10.2.${number}.0-24`,
      subnets: [Prefix.parse(`10.2.${number}.0/24`)],
    }));
    expect(problems(peers)).toEqual([
      expect.stringMatching(/^lease 10\.2\.3\.0-24: .* \(and of 2 more peers\)$/),
    ]);
  });
});
