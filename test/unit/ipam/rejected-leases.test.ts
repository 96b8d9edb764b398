/** Which leases are rejected, and why. peer-table.test.ts has what a change of them does. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import { type LocalPrefix, localAddress } from "../../../ipam/addresses/local-prefixes.ts";
import type { StoreEntry } from "../../../ipam/stores/contracts.ts";
import { attrs, entry, prefix, value } from "../../support/lease-fixture.ts";
import { peerTableLab } from "../../support/peer-table-lab.ts";
import { OWN_MAC } from "../../support/vxlan-fixture.ts";

describe("a lease by itself is refused, with a reason that names it", () => {
  const good = entry("10.2.5.0-24", 5);
  it.each<[string, StoreEntry, RegExp]>([
    [
      "outside the network",
      entry("10.3.5.0-24", 5),
      /10\.3\.5\.0\/24 lies outside the network 10\.2\.0\.0\/16/,
    ],
    ["larger than the network", entry("10.0.0.0-8", 5), /outside the network/],
    [
      "as large as the network",
      entry("10.2.0.0-16", 5),
      /10\.2\.0\.0\/16 is the whole network 10\.2\.0\.0\/16/,
    ],
    [
      "over our own subnet",
      entry("10.2.0.0-23", 5),
      /10\.2\.0\.0\/23 overlaps this host's own 10\.2\.1\.0\/24/,
    ],
    [
      "with our own address",
      { ...good, value: value(5, { ip: "192.168.50.1" }) },
      /192\.168\.50\.1 is this host's own/,
    ],
    [
      "with a multicast address",
      { ...good, value: value(5, { ip: "224.0.0.5" }) },
      /224\.0\.0\.5 is a multicast address/,
    ],
    [
      "with the broadcast address",
      { ...good, value: value(5, { ip: "255.255.255.255" }) },
      /is the broadcast address/,
    ],
    [
      "with a loopback address",
      { ...good, value: value(5, { ip: "127.0.0.1" }) },
      /127\.0\.0\.1 is a loopback address/,
    ],
    ["with an address of 240.0.0.0/4", { ...good, value: value(5, { ip: "240.0.0.1" }) }, /240\.0\.0\.0\/4/],
    ["with an address of 0.0.0.0/8", { ...good, value: value(5, { ip: "0.1.2.3" }) }, /0\.0\.0\.0\/8/],
    ["with a link-local address", { ...good, value: value(5, { ip: "169.254.7.7" }) }, /link-local/],
    [
      "with an address in our subnet",
      { ...good, value: value(5, { ip: "10.2.1.7" }) },
      /this host's own subnet/,
    ],
    ["without an address", { ...good, value: value(5, { ip: "0.0.0.0" }) }, /no public IPv4 address/],
    ["with an address in its subnet", { ...good, value: value(5, { ip: "10.2.5.1" }) }, /would loop/],
    [
      "with a multicast MAC",
      { ...good, value: value(5, { backendData: { 4: { VtepMAC: "01:00:5e:00:00:01" } } }) },
      /group address/,
    ],
    [
      "with our own MAC",
      { ...good, value: value(5, { backendData: { 4: { VtepMAC: OWN_MAC } } }) },
      /this host's own; one of the two hosts was cloned/,
    ],
    ["without a MAC", { ...good, value: value(5, { backendData: {} }) }, /no valid VtepMAC/],
    ["of another backend", { ...good, value: value(5, { backendType: "host-gw" }) }, /backend is "host-gw"/],
    ["that is cut short", { ...good, value: good.value.slice(0, 20) }, /not JSON/],
    ["whose key is no subnet", entry("nonsense", 5), /"nonsense" is not a subnet/],
    ["whose key has host bits", entry("10.2.5.7-24", 5), /is not a subnet/],
  ])("%s", (_, bad, expected) => {
    const { list, keys, reason } = peerTableLab();
    list([entry("10.2.9.0-24", 9), bad]);
    expect(keys()).toEqual(["10.2.9.0-24"]);
    expect(reason(bad.key)).toMatch(expected);
    expect(reason(bad.key)).toContain(bad.key);
  });

  it("until it is put right", () => {
    const { list, put, keys, reason } = peerTableLab();
    list([entry("10.2.5.0-24", 5, { value: "{" })]);
    put(entry("10.2.5.0-24", 5, { revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(reason("10.2.5.0-24")).toBeUndefined();
  });

  it("but a second family that is none of the network's is no reason", () => {
    const { list, keys } = peerTableLab();
    list([entry("10.2.5.0-24&fd00:5::-64", 5), entry("10.2.6.0-24&fd00:5::-64", 6)]);
    expect(keys()).toHaveLength(2);
  });
});

describe("of leases that contradict each other the older one stays", () => {
  const older = entry("10.2.4.0-23", 4);
  const younger = entry("10.2.5.0-24", 5);

  it.each([
    ["in one listing", [older, younger]],
    ["in the other order", [younger, older]],
  ])("%s", (_, entries) => {
    const { list, keys, reason } = peerTableLab();
    list(entries);
    expect(keys()).toEqual([older.key]);
    expect(reason(younger.key)).toMatch(/overlaps lease 10\.2\.4\.0-23, which is older/);
  });

  it("one after the other, and the other when it leaves", () => {
    const { list, put, del, keys } = peerTableLab();
    list([younger]);
    put(older);
    expect(keys()).toEqual([older.key]);
    del(older.key, 0);
    expect(keys()).toEqual([younger.key]);
  });

  it("also for a public address and a tunnel MAC", () => {
    const { list, keys, reason } = peerTableLab();
    list([
      entry("10.2.5.0-24", 5),
      entry("10.2.6.0-24", 6, { value: value(6, { ip: "192.168.0.5" }) }),
      entry("10.2.7.0-24", 7, { value: value(7, { backendData: { 4: { VtepMAC: "02:00:00:01:00:05" } } }) }),
    ]);
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(reason("10.2.6.0-24")).toMatch(
      /public address 192\.168\.0\.5 is also that of lease 10\.2\.5\.0-24/,
    );
    expect(reason("10.2.7.0-24")).toMatch(/hardware address 02:00:00:01:00:05 is also that of/);
  });

  it("but not for a public address of a family that the network does not have", () => {
    const { list, keys } = peerTableLab();
    const withIpv6 = (n: number) =>
      entry(`10.2.${n}.0-24`, n, {
        value: JSON.stringify({ ...JSON.parse(value(n)), PublicIPv6: "2001:db8::1" }),
      });
    list([withIpv6(5), withIpv6(6)]);
    expect(keys()).toEqual(["10.2.5.0-24", "10.2.6.0-24"]);
  });

  it("but not for the tunnel MAC of flannel's, whose device outlives a change of its address", () => {
    const { list, keys, table } = peerTableLab();
    const moved = { nodeId: null, backendData: { 4: { VtepMAC: "02:00:00:01:00:05" } } };
    list([
      entry("10.2.4.0-24", 7, { value: value(7, moved) }),
      entry("10.2.5.0-24", 5, { value: value(5, moved) }),
    ]);
    expect(keys()).toEqual(["10.2.4.0-24", "10.2.5.0-24"]);
    // What they share is the younger one's, because it comes later.
    expect([...table.peers.keys()]).toEqual(["10.2.5.0-24", "10.2.4.0-24"]);
  });

  it("and for the tunnel MAC of an older lease of tulle's, which flannel's lease does not take from it", () => {
    const { list, put, del, keys, reason } = peerTableLab();
    const mac = { backendData: { 4: { VtepMAC: "02:00:00:01:00:05" } } };
    const theirs = entry("10.2.7.0-24", 7, { value: value(7, { nodeId: null, ...mac }) });
    list([theirs]);
    put(entry("10.2.5.0-24", 5));
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(reason("10.2.7.0-24")).toMatch(
      /hardware address 02:00:00:01:00:05 is also that of lease 10\.2\.5\.0-24, which is older/,
    );
    del("10.2.5.0-24", 0);
    expect(keys()).toEqual(["10.2.7.0-24"]);
    // A younger lease of tulle's gets it, as from any other host.
    put(entry("10.2.9.0-24", 9, { value: value(9, mac) }));
    expect(keys()).toEqual(["10.2.7.0-24", "10.2.9.0-24"]);
  });

  it("and is that of the same host, as while it moves, without blame", () => {
    const { list, put, del, keys, reason } = peerTableLab();
    list([entry("10.2.5.0-24", 5)]);
    put(entry("10.2.7.0-24", 5, { revision: 7n, createRevision: 7n }));
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(reason("10.2.7.0-24")).toMatch(/^lease 10\.2\.7\.0-24: its host also has lease 10\.2\.5\.0-24/);
    del("10.2.5.0-24", 0);
    expect(keys()).toEqual(["10.2.7.0-24"]);
  });

  it("and is accepted once the older one has moved", () => {
    const { list, put, keys } = peerTableLab();
    list([entry("10.2.5.0-24", 5), entry("10.2.6.0-24", 6, { value: value(6, { ip: "192.168.0.5" }) })]);
    put(entry("10.2.5.0-24", 5, { value: value(5, { ip: "192.168.0.77" }), revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24", "10.2.6.0-24"]);
  });
});

describe("what this host reaches without the network", () => {
  const lan = (text: string, more: Partial<LocalPrefix> = {}): LocalPrefix => ({
    prefix: prefix(text),
    kind: "link",
    origin: "eth1",
    gateway: null,
    mayBeContainers: false,
    ...more,
  });

  it.each([
    ["its LAN", lan("10.2.5.0/25"), /overlaps 10\.2\.5\.0\/25 \(eth1\).*revoke the lease/],
    ["a larger LAN", lan("10.2.4.0/22"), /overlaps 10\.2\.4\.0\/22/],
    [
      "the lease store",
      localAddress(Address.parse("10.2.5.9"), "store", "the lease store"),
      /10\.2\.5\.9 \(the lease store\)/,
    ],
    ["a local bridge", lan("10.2.5.0/24", { origin: "docker0", mayBeContainers: true }), /docker0/],
  ])("is not covered by a peer's subnet: %s", (_, local, expected) => {
    const { list, keys, reason, table } = peerTableLab({ local: [local] });
    list([entry("10.2.9.0-24", 9), entry("10.2.5.0-24", 5)]);
    expect(keys()).toEqual(["10.2.9.0-24"]);
    expect(reason("10.2.5.0-24")).toMatch(expected);
    expect(reason("10.2.5.0-24")).not.toMatch(/delete.*route/);
    table.reconfigure({ local: [] });
    expect(keys()).toEqual(["10.2.5.0-24", "10.2.9.0-24"]);
  });

  it("may be a stray route, which can be deleted instead of the lease", () => {
    const stray = lan("10.2.5.0/24", { kind: "route", origin: "a route by eth1" });
    const { list, reason } = peerTableLab({ local: [stray] });
    list([entry("10.2.5.0-24", 5)]);
    expect(reason("10.2.5.0-24")).toMatch(/delete that route if nothing needs it, else revoke the lease/);
  });

  it.each([
    [
      "a stray address",
      localAddress(Address.parse("10.2.5.9"), "address", "lo"),
      /delete that address if nothing/,
    ],
    [
      "a bridge that kept a former subnet",
      lan("10.2.5.0/24", { origin: "docker0", mayBeContainers: true }),
      /if docker0 has a former subnet of this host, restart what made it, such as Docker, else revoke the lease/,
    ],
  ])("may be %s of this host, which is to go instead of the lease", (_, local, expected) => {
    const { list, reason } = peerTableLab({ local: [local] });
    list([entry("10.2.5.0-24", 5)]);
    expect(reason("10.2.5.0-24")).toMatch(expected);
  });

  it("may be a route for a part of a peer's subnet, which stays in force beside ours", () => {
    const longer = lan("10.2.5.128/25", { kind: "route", origin: "a route by dummy0" });
    const { list, keys } = peerTableLab({ local: [longer] });
    list([entry("10.2.5.0-24", 5)]);
    expect(keys()).toEqual(["10.2.5.0-24"]);
  });

  it("may be all of the network, as a default route is", () => {
    const { list, keys } = peerTableLab({ local: [lan("0.0.0.0/0"), lan("10.0.0.0/8")] });
    list([entry("10.2.5.0-24", 5)]);
    expect(keys()).toEqual(["10.2.5.0-24"]);
  });

  it("may be a peer's subnet by a route to that peer, as flanneld makes it", () => {
    const gateway = Address.parse(String(attrs(5).publicAddress[4]));
    const { list, keys } = peerTableLab({ local: [lan("10.2.5.0/24", { kind: "route", gateway })] });
    list([entry("10.2.5.0-24", 5)]);
    expect(keys()).toEqual(["10.2.5.0-24"]);
  });

  it("is told when our own subnet covers it, but for our containers' bridge", () => {
    const { table } = peerTableLab({ local: [lan("10.2.1.0/24", { mayBeContainers: true })] });
    expect(table.ownObstacle).toBeNull();
    table.reconfigure({ local: [lan("10.2.1.128/25")] });
    expect(table.ownObstacle).toMatch(/our lease 10\.2\.1\.0-24 overlaps 10\.2\.1\.128\/25 \(eth1\)/);
  });

  it("is not our own subnet on another device of our containers, but is a part of it there", () => {
    const gateway = { origin: "dummy0", hasGateway: true };
    const { table } = peerTableLab({ local: [lan("10.2.1.0/24", gateway)] });
    expect(table.ownObstacle).toBeNull();
    for (const other of ["10.2.1.0/25", "10.2.0.0/23"]) {
      table.reconfigure({ local: [lan(other, gateway)] });
      expect(table.ownObstacle).toContain(`overlaps ${other} (dummy0)`);
    }
  });

  it("includes addresses that no peer can have", () => {
    const own = localAddress(Address.parse("172.18.0.1"), "address", "docker0");
    const { list, keys, reason } = peerTableLab({ local: [own] });
    list([entry("10.2.5.0-24", 5, { value: value(5, { ip: "172.18.0.1" }) })]);
    expect(keys()).toEqual([]);
    expect(reason("10.2.5.0-24")).toMatch(/is an address of this host \(docker0\)/);
  });

  it("is all public addresses of hosts inside the network: the younger of address and subnet yields", () => {
    const { list, keys, reason } = peerTableLab();
    list([
      entry("10.2.9.0-24", 9, { value: value(9, { ip: "10.2.5.7" }), createRevision: 1n }),
      entry("10.2.5.0-24", 5, { createRevision: 2n }),
    ]);
    expect(keys()).toEqual(["10.2.9.0-24"]);
    expect(reason("10.2.5.0-24")).toMatch(/holds the public address of lease 10\.2\.9\.0-24, which is older/);
  });
});
