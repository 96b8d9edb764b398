/** Who is a peer: what is refused, what is ours, and what a change costs. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import type { StoreEntry } from "../../../ipam/stores/store.ts";
import { entry, prefix, value } from "../../support/lease-fixture.ts";
import { hosts, OWN_KEY, peerTableLab } from "../../support/peer-table-lab.ts";
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
      /224\.0\.0\.5 is no address/,
    ],
    ["with the broadcast address", { ...good, value: value(5, { ip: "255.255.255.255" }) }, /is no address/],
    [
      "with a loopback address",
      { ...good, value: value(5, { ip: "127.0.0.1" }) },
      /127\.0\.0\.1 is no address/,
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
      /this host's own; one of the two was cloned/,
    ],
    ["without a MAC", { ...good, value: value(5, { backendData: {} }) }, /no valid VtepMAC/],
    ["of another backend", { ...good, value: value(5, { backendType: "host-gw" }) }, /backend is "host-gw"/],
    ["that is cut short", { ...good, value: good.value.slice(0, 20) }, /not JSON/],
    ["whose key is no subnet", entry("nonsense", 5), /"nonsense" is no subnet/],
    ["whose key has host bits", entry("10.2.5.7-24", 5), /is no subnet/],
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
    const { list, put, del, keys, table } = peerTableLab();
    list([younger]);
    put(older);
    expect(keys()).toEqual([older.key]);
    del(older.key, 0);
    table.expire(1_000);
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

  it("and is accepted once the older one has moved", () => {
    const { list, put, keys } = peerTableLab();
    list([entry("10.2.5.0-24", 5), entry("10.2.6.0-24", 6, { value: value(6, { ip: "192.168.0.5" }) })]);
    put(entry("10.2.5.0-24", 5, { value: value(5, { ip: "192.168.0.77" }), revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24", "10.2.6.0-24"]);
  });
});

describe("our own lease", () => {
  it("is no peer, whoever holds its key", () => {
    const { list, put, keys, table } = peerTableLab();
    list([entry(OWN_KEY, 1), entry("10.2.5.0-24", 5)]);
    put(entry(OWN_KEY, 7, { revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(table.snapshot().own?.attrs.nodeId).toBe(entry("", 7).value.slice(-34, -2));
  });

  it("of another host becomes a peer after we have taken another subnet", () => {
    const { list, table, keys } = peerTableLab();
    list([entry(OWN_KEY, 7), entry("10.2.5.0-24", 5)]);
    table.setOwnKey("10.2.5.0-24");
    expect(keys()).toEqual([OWN_KEY]);
  });
});

describe("a change", () => {
  it("of the address or the MAC is a change of the peer", () => {
    const { list, put, table } = peerTableLab();
    list(hosts(3));
    table.takeChanged();
    for (const changed of [
      value(2, { ip: "192.168.9.9" }),
      value(2, { backendData: { 4: { VtepMAC: "02:00:00:99:00:02" } } }),
    ]) {
      const revision = table.snapshot().revision + 1n;
      put(entry("10.2.2.0-24", 2, { value: changed, revision }));
      expect([...table.takeChanged()]).toEqual(["10.2.2.0-24"]);
      expect(table.peers.get("10.2.2.0-24")?.revision).toBe(revision);
    }
  });

  it("names the keys that it touched and no other", () => {
    const { list, put, del, table } = peerTableLab();
    list(hosts(5));
    expect(table.takeChanged().size).toBe(5);
    expect(table.takeChanged().size).toBe(0);
    put(entry("10.2.99.0-24", 99));
    expect([...table.takeChanged()]).toEqual(["10.2.99.0-24"]);
    del("10.2.2.0-24", 0);
    expect([...table.takeChanged()]).toEqual(["10.2.2.0-24"]);
    list(hosts(5));
    expect([...table.takeChanged()].sort()).toEqual(["10.2.2.0-24"]);
  });

  it("takes a lease that a restored store holds at the revision of the one before", () => {
    const { table, list } = peerTableLab();
    const before = entry("10.2.5.0-24", 5);
    list([before]);
    list([{ ...before, value: value(6), storeLeaseId: "2" }]);
    expect(table.peers.get("10.2.5.0-24")?.attrs.publicAddress[4]?.toString()).toBe("192.168.0.6");
  });

  it("keeps unchanged leases as the same objects over a listing", () => {
    const { list, table } = peerTableLab();
    list(hosts(3));
    const before = table.snapshot().peers;
    list(hosts(4));
    for (const [key, lease] of before) expect(table.snapshot().peers.get(key)).toBe(lease);
  });

  it("looks at one lease, not at all, also while some are refused", () => {
    let looks = 0;
    const refusePeer = (): string | null => {
      looks += 1;
      return null;
    };
    const { list, put } = peerTableLab({ refusePeer });
    list([...hosts(200), entry("10.2.8.0-25", 300)]);
    looks = 0;
    put(entry("10.2.240.0-24", 240));
    expect(looks).toBe(1);
    put(entry("10.2.9.0-25", 301));
    expect(looks).toBe(2);
  });

  it("that cannot be decoded leaves the peer as it was, and says so", () => {
    const { list, put, table, reason } = peerTableLab();
    list(hosts(3));
    const before = table.peers.get("10.2.2.0-24");
    put(entry("10.2.2.0-24", 2, { value: '{"PublicIP":', revision: 900n }));
    expect(table.peers.get("10.2.2.0-24")).toBe(before);
    expect(reason("10.2.2.0-24")).toMatch(/not JSON/);
  });
});

describe("the network's ranges", () => {
  const elsewhere = entry("10.9.5.0-24", 5);

  it("grow by those of the newest valid configuration in the store", () => {
    const { list, change, keys, table } = peerTableLab();
    list([elsewhere]);
    expect(keys()).toEqual([]);
    const config = (text: string): void => change([{ type: "config", value: text, revision: 2n }]);
    config('{"Network":"10.9.0.0/16","Backend":{"Type":"vxlan"}}');
    expect(keys()).toEqual([elsewhere.key]);
    config('{"Network":"nonsense"}');
    expect(table.configProblem).toMatch(/nonsense/);
    expect(keys()).toEqual([elsewhere.key]);
  });

  it("can be set anew, as can our own address", () => {
    const { list, keys, table, reason } = peerTableLab();
    list([elsewhere, entry("10.2.6.0-24", 6)]);
    table.reconfigure({ networks: [prefix("10.2.0.0/16"), prefix("10.9.0.0/16")] });
    expect(keys()).toHaveLength(2);
    table.reconfigure({ ownAddresses: { 4: Address.parse("192.168.0.6") } });
    expect(keys()).toEqual([elsewhere.key]);
    expect(reason("10.2.6.0-24")).toMatch(/this host's own/);
  });
});

describe("a snapshot", () => {
  it("does not change once it is taken, and is taken once per change", () => {
    const { list, put, table } = peerTableLab();
    list(hosts(3));
    const snapshot = table.snapshot();
    expect(table.snapshot()).toBe(snapshot);
    put(entry("10.2.99.0-24", 99));
    expect(snapshot.peers.size).toBe(3);
    expect(table.snapshot().peers.size).toBe(4);
  });

  it("is synced after the first listing", () => {
    const { list, table } = peerTableLab();
    expect(table.snapshot().synced).toBe(false);
    list([]);
    expect(table.snapshot()).toMatchObject({ synced: true, revision: 1_000n });
  });

  it("shows what the newest value of a key is worth, beside the last good one", () => {
    const { list, put, table } = peerTableLab();
    list(hosts(2));
    const good: Lease | undefined = table.peers.get("10.2.2.0-24");
    put(entry("10.2.2.0-24", 2, { value: "[]", revision: 900n }));
    expect(table.snapshot().peers.get("10.2.2.0-24")).toBe(good);
    expect(table.snapshot().refused.get("10.2.2.0-24")?.reason).toMatch(/no JSON object/);
  });
});
