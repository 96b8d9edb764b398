/** Our own lease, and what a change of the store does to the peers. rejected-leases.test.ts has what is rejected. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { entry, prefix, value } from "../../support/lease-fixture.ts";
import { hosts, LEAVE_GRACE_MS, OWN_KEY, peerTableLab } from "../../support/peer-table-lab.ts";

describe("our own lease", () => {
  it("is no peer, whoever holds its key", () => {
    const { list, put, keys } = peerTableLab();
    list([entry(OWN_KEY, 1), entry("10.2.5.0-24", 5)]);
    put(entry(OWN_KEY, 7, { revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24"]);
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
    for (const [changed, revision] of [
      [value(2, { ip: "192.168.9.9" }), 1_001n],
      [value(2, { backendData: { 4: { VtepMAC: "02:00:00:99:00:02" } } }), 1_002n],
    ] as const) {
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
    expect([...table.takeChanged()]).toEqual([]);
    table.expire(LEAVE_GRACE_MS);
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

  it("takes a reservation that a restored store holds at the revision of the one before", () => {
    const { table, list } = peerTableLab();
    const before = entry("10.2.5.0-24", 5, { storeLeaseId: null });
    list([before]);
    list([{ ...before, value: value(6) }]);
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
    const rejectPeer = (): string | null => {
      looks += 1;
      return null;
    };
    const { list, put } = peerTableLab({ rejectPeer });
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

  it.each<[string, string, RegExp]>([
    [
      "no VtepMAC",
      value(2, { backendData: { 4: { VNI: 1, VtepMAC: "zz" } } }),
      /holds no valid VtepMAC; restart/,
    ],
    ["no object", value(2, { backendData: { 4: "\u{1f4a3}" } }), /holds no valid VtepMAC/],
    ["no data", value(2, { backendData: {} }), /BackendData null holds no valid VtepMAC/],
    ["a group address", value(2, { backendData: { 4: { VtepMAC: "01:00:5e:00:00:01" } } }), /group address/],
    [
      "a VNI that is no number",
      value(2, { backendData: { 4: { VNI: "1", VtepMAC: "02:00:00:01:00:02" } } }),
      /VNI "1" is not/,
    ],
    ["no address", "{}", /has no public address; restart/],
    ["a loopback address", value(2, { ip: "127.0.0.1" }), /is a loopback address.*; give its host/],
    ["a multicast address", value(2, { ip: "224.0.0.5" }), /is a multicast address/],
    ["an address in its own subnet", value(2, { ip: "10.2.2.7" }), /would loop/],
  ])("that no host can have published, with %s, leaves the peer as it was", (_, text, problem) => {
    const { list, put, table, reason } = peerTableLab();
    list(hosts(3));
    const before = table.peers.get("10.2.2.0-24");
    put(entry("10.2.2.0-24", 2, { value: text, revision: 900n }));
    expect(table.peers.get("10.2.2.0-24")).toBe(before);
    expect(reason("10.2.2.0-24")).toMatch(problem);
    put(entry("10.2.2.0-24", 2, { revision: 901n }));
    expect(reason("10.2.2.0-24")).toBeUndefined();
  });

  it("of another backend, or of a reservation, is what its host or a person means", () => {
    for (const overrides of [
      { value: value(2, { backendType: "host-gw", backendData: {} }) },
      { value: '{"PublicIP":"192.168.0.2","BackendType":"vxlan"}', storeLeaseId: null },
    ]) {
      const { list, put, keys } = peerTableLab();
      list(hosts(3));
      put(entry("10.2.2.0-24", 2, { ...overrides, revision: 900n }));
      expect(keys()).not.toContain("10.2.2.0-24");
    }
  });

  it("that cannot be decoded is reported no longer than it is in the store", () => {
    const { list, put, del, table, reason } = peerTableLab();
    list(hosts(3));
    const damage = (): void => put(entry("10.2.2.0-24", 2, { value: "{", revision: 900n }));
    damage();
    list(hosts(3));
    expect(reason("10.2.2.0-24")).toBeUndefined();
    expect(table.rejectedCount).toBe(0);
    damage();
    del("10.2.2.0-24");
    expect(table.peers.has("10.2.2.0-24")).toBe(true);
    expect(table.rejectedCount).toBe(0);
  });

  it.each(["PublicIP", "BackendType", "BackendData", "OtherBackends", "other"])(
    "nests without end in %s: it is refused, and nobody else suffers",
    (field) => {
      const { list, put, keys, reason } = peerTableLab();
      for (const levels of [1_000, 20_000, 300_000]) {
        const lists = `{"${field}":${"[".repeat(levels)}${"]".repeat(levels)}}`;
        const objects = `{"${field}":${'{"a":'.repeat(levels)}"]}"${"}".repeat(levels)}}`;
        list([...hosts(1), entry("10.2.7.0-24", 7, { value: lists })]);
        put(entry("10.2.8.0-24", 8, { value: objects }));
        expect(keys()).toEqual(["10.2.2.0-24"]);
        for (const key of ["10.2.7.0-24", "10.2.8.0-24"])
          expect(reason(key)).toMatch(new RegExp(`lease ${key}: the value nests over 100 levels deep`));
      }
    },
  );
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
    config('{"Network":"10.9.0.0/16","Backend":{"Type":"vxlan"}}');
    expect(table.configProblem).toBeNull();
  });

  it("stay while the configuration is missing in the store, which is named", () => {
    const { list, change, table } = peerTableLab();
    list([], 0, null);
    expect(table.configProblem).toBeNull();
    list([]);
    const inForce = table.config;
    list([], 0, null);
    expect(table.configProblem).toMatch(/missing in the store/);
    list([]);
    expect(table.configProblem).toBeNull();
    change([{ type: "config", value: null, revision: 3n }]);
    expect(table.configProblem).toMatch(/missing in the store/);
    expect(table.config).toBe(inForce);
  });

  it("change in the message in which leases go: neither a peer nor a refusal stays behind", () => {
    const { table, keys, reason } = peerTableLab();
    const leaving = { ...entry("10.2.3.0-24", 3), value: value(3).replace("{", '{"Leaving":true,') };
    const refused = entry("10.2.4.0-24", 4, { value: value(4, { ip: "192.168.50.1" }) });
    table.apply({ type: "list", revision: 1n, entries: [...hosts(1), leaving, refused], config: null }, 0);
    expect(keys()).toEqual(["10.2.2.0-24", "10.2.3.0-24"]);
    expect(reason(refused.key)).toMatch(/this host's own/);
    const config = '{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}';
    table.apply({ type: "list", revision: 2n, entries: hosts(1), config }, 10_000);
    expect(keys()).toEqual(["10.2.2.0-24"]);
    expect(table.rejected().size).toBe(0);
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
    expect(table.isSynced).toBe(false);
    list([]);
    expect(table.isSynced).toBe(true);
  });

  it("shows what the newest value of a key is worth, beside the last good one", () => {
    const { list, put, table } = peerTableLab();
    list(hosts(2));
    const good: Lease | undefined = table.peers.get("10.2.2.0-24");
    put(entry("10.2.2.0-24", 2, { value: "[]", revision: 900n }));
    expect(table.snapshot().peers.get("10.2.2.0-24")).toBe(good);
    expect(table.snapshot().rejected.get("10.2.2.0-24")?.reason).toMatch(/not a JSON object/);
  });
});

describe("20,000 leases that contradict each other", () => {
  it("change the table by one key for one change", () => {
    const { list, put, table } = peerTableLab();
    const crowd = Array.from({ length: 20_000 }, (_, n) =>
      entry(`10.2.${2 + (n % 200)}.${Math.floor(n / 200)}-32`, 7, { createRevision: BigInt(n + 1) }),
    );
    list(crowd);
    expect(table.peers.size).toBe(1);
    table.takeChanged();
    put(entry("10.2.250.0-24", 250));
    expect([...table.takeChanged()]).toEqual(["10.2.250.0-24"]);
    expect(table.rejectedCount).toBe(crowd.length - 1);
  });
});
