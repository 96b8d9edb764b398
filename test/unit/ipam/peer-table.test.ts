/** Who is a peer: what is refused, what is kept when the store is in doubt, and what a change costs. */

import { describe, expect, it } from "vitest";
import { vxlanBackend } from "../../../backends/vxlan.ts";
import { Address } from "../../../ipam/ip.ts";
import type { Lease } from "../../../ipam/lease.ts";
import { PeerTable, type PeerTableOptions } from "../../../ipam/peer-table.ts";
import type { StoreChange, StoreEntry } from "../../../ipam/store.ts";
import { entry, NETWORK, prefix, recordingLogger, value } from "../../support/lease-fixture.ts";
import { hostFacts, OWN_MAC } from "../../support/vxlan-fixture.ts";

const HOLD_DOWN_MS = 30_000;
const OWN_ADDRESS = Address.parse("192.168.50.1");
const OWN_KEY = "10.2.1.0-24";

function lab(overrides: Partial<PeerTableOptions> = {}) {
  const logger = recordingLogger();
  const backend = vxlanBackend.parseOptions({}).prepare(hostFacts(), [4], { macFor: () => OWN_MAC });
  const table = new PeerTable({
    networks: [prefix("10.2.0.0/16")],
    ownAddresses: { 4: OWN_ADDRESS },
    holdDownMs: HOLD_DOWN_MS,
    logger,
    refusePeer: (lease) => backend.refusePeer(lease),
    identitiesOf: (lease) => backend.peerIdentities(lease),
    ...overrides,
  });
  table.setOwnKey(OWN_KEY);
  let revision = 1_000n;
  const list = (entries: readonly StoreEntry[], nowMs = 0, config: string | null = NETWORK): void => {
    table.apply({ type: "list", revision, entries, config }, nowMs);
  };
  const change = (changes: readonly StoreChange[], nowMs = 0): void => {
    revision += 1n;
    table.apply({ type: "changes", revision, changes }, nowMs);
  };
  const put = (given: StoreEntry, nowMs = 0): void => change([{ type: "put", entry: given }], nowMs);
  const del = (key: string, nowMs = 0): void => {
    change([{ type: "delete", key, revision: revision + 1n }], nowMs);
  };
  const keys = (): string[] => [...table.peers.keys()].sort();
  const reason = (key: string): string | undefined => table.snapshot().refused.get(key)?.reason;
  return { table, list, change, put, del, keys, reason, logger };
}

/** Hosts 2 .. count + 1 in 10.2.<n>.0/24. */
function hosts(count: number): StoreEntry[] {
  return Array.from({ length: count }, (_, index) => entry(`10.2.${index + 2}.0-24`, index + 2));
}

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
    const { list, keys, reason } = lab();
    list([entry("10.2.9.0-24", 9), bad]);
    expect(keys()).toEqual(["10.2.9.0-24"]);
    expect(reason(bad.key)).toMatch(expected);
    expect(reason(bad.key)).toContain(bad.key);
  });

  it("until it is put right", () => {
    const { list, put, keys, reason } = lab();
    list([entry("10.2.5.0-24", 5, { value: "{" })]);
    put(entry("10.2.5.0-24", 5, { revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(reason("10.2.5.0-24")).toBeUndefined();
  });

  it("but a second family that is none of the network's is no reason", () => {
    const { list, keys } = lab();
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
    const { list, keys, reason } = lab();
    list(entries);
    expect(keys()).toEqual([older.key]);
    expect(reason(younger.key)).toMatch(/overlaps lease 10\.2\.4\.0-23, which is older/);
  });

  it("one after the other, and the other when it leaves", () => {
    const { list, put, del, keys, table } = lab();
    list([younger]);
    put(older);
    expect(keys()).toEqual([older.key]);
    del(older.key, 0);
    table.expire(1_000);
    expect(keys()).toEqual([younger.key]);
  });

  it("also for a public address and a tunnel MAC", () => {
    const { list, keys, reason } = lab();
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
    const { list, keys, table } = lab();
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
    const { list, put, keys } = lab();
    list([entry("10.2.5.0-24", 5), entry("10.2.6.0-24", 6, { value: value(6, { ip: "192.168.0.5" }) })]);
    put(entry("10.2.5.0-24", 5, { value: value(5, { ip: "192.168.0.77" }), revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24", "10.2.6.0-24"]);
  });
});

describe("our own lease", () => {
  it("is no peer, whoever holds its key", () => {
    const { list, put, keys, table } = lab();
    list([entry(OWN_KEY, 1), entry("10.2.5.0-24", 5)]);
    put(entry(OWN_KEY, 7, { revision: 900n }));
    expect(keys()).toEqual(["10.2.5.0-24"]);
    expect(table.snapshot().own?.attrs.nodeId).toBe(entry("", 7).value.slice(-34, -2));
  });

  it("of another host becomes a peer after we have taken another subnet", () => {
    const { list, table, keys } = lab();
    list([entry(OWN_KEY, 7), entry("10.2.5.0-24", 5)]);
    table.setOwnKey("10.2.5.0-24");
    expect(keys()).toEqual([OWN_KEY]);
  });
});

describe("a change", () => {
  it("of the address or the MAC is a change of the peer", () => {
    const { list, put, table } = lab();
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
    const { list, put, del, table } = lab();
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
    const { table, list } = lab();
    const before = entry("10.2.5.0-24", 5);
    list([before]);
    list([{ ...before, value: value(6), storeLeaseId: "2" }]);
    expect(table.peers.get("10.2.5.0-24")?.attrs.publicAddress[4]?.toString()).toBe("192.168.0.6");
  });

  it("keeps unchanged leases as the same objects over a listing", () => {
    const { list, table } = lab();
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
    const { list, put } = lab({ refusePeer });
    list([...hosts(200), entry("10.2.8.0-25", 300)]);
    looks = 0;
    put(entry("10.2.240.0-24", 240));
    expect(looks).toBe(1);
    put(entry("10.2.9.0-25", 301));
    expect(looks).toBe(2);
  });

  it("that cannot be decoded leaves the peer as it was, and says so", () => {
    const { list, put, table, reason } = lab();
    list(hosts(3));
    const before = table.peers.get("10.2.2.0-24");
    put(entry("10.2.2.0-24", 2, { value: '{"PublicIP":', revision: 900n }));
    expect(table.peers.get("10.2.2.0-24")).toBe(before);
    expect(reason("10.2.2.0-24")).toMatch(/not JSON/);
  });
});

describe("a peer that vanishes", () => {
  it("goes at once when it leaves alone", () => {
    const { list, del, keys, table } = lab();
    list(hosts(10));
    del("10.2.2.0-24", 5_000);
    expect(keys()).toHaveLength(9);
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
    del("10.2.3.0-24", 6_000);
    expect(keys()).toHaveLength(8);
  });

  it("goes a second later when another one has just left", () => {
    const { list, del, keys, table } = lab();
    list(hosts(10));
    del("10.2.2.0-24", 4_500);
    del("10.2.3.0-24", 5_000);
    expect(keys()).toHaveLength(9);
    expect(table.nextDeadlineMs).toBe(6_000);
    expect(table.expire(5_999)).toBe(false);
    expect(table.expire(6_000)).toBe(true);
    expect(keys()).toHaveLength(8);
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
  });

  it("is one of many, of which some may leave at once", () => {
    const { list, del, keys } = lab();
    list(hosts(68));
    for (let n = 2; n < 8; n++) del(`10.2.${n}.0-24`, 5_000 + n);
    expect(keys()).toHaveLength(64);
  });

  it("and is created again within the second interrupts nothing while it is kept", () => {
    const { list, del, put, table } = lab();
    list(hosts(10));
    del("10.2.3.0-24", 5_000);
    table.takeChanged();
    del("10.2.2.0-24", 5_000);
    put(entry("10.2.2.0-24", 2, { revision: 900n, createRevision: 900n }), 5_100);
    expect(table.expire(100_000)).toBe(false);
    expect(table.peers.get("10.2.2.0-24")?.revision).toBe(900n);
  });

  it("goes at once when the hold-down is off", () => {
    const { list, keys } = lab({ holdDownMs: 0 });
    list(hosts(10));
    list([]);
    expect(keys()).toEqual([]);
  });
});

describe("a mass disappearance", () => {
  it.each([
    ["in one listing", (parts: ReturnType<typeof lab>) => parts.list(hosts(4), 1_000)],
    ["in an empty listing", (parts: ReturnType<typeof lab>) => parts.list([], 1_000)],
    [
      "one by one within a second",
      (parts: ReturnType<typeof lab>) => {
        for (let n = 6; n < 12; n++) parts.del(`10.2.${n}.0-24`, 100 * n);
      },
    ],
  ])("is held down: %s", (_, vanish) => {
    const parts = lab();
    const { list, keys, table, logger } = parts;
    list(hosts(10), 0);
    const before = new Map(table.peers);
    table.takeChanged();
    vanish(parts);
    table.expire(HOLD_DOWN_MS);
    expect(keys()).toHaveLength(10);
    for (const [key, lease] of before) expect(table.peers.get(key)).toBe(lease);
    expect(table.snapshot().held.size).toBeGreaterThan(5);
    expect(logger.lines).toMatchObject([{ level: "warn", message: expect.stringMatching(/kept for now/) }]);
    table.expire(1_200 + HOLD_DOWN_MS);
    expect(keys().length).toBeLessThan(5);
    expect(logger.lines.at(-1)?.message).toMatch(/let go/);
  });

  it("is held down to the last peer, although the last ones are few", () => {
    const { list, del, keys, table, logger } = lab();
    list(hosts(100), 0);
    for (let n = 2; n < 102; n++) del(`10.2.${n}.0-24`, n);
    table.expire(HOLD_DOWN_MS);
    expect(keys()).toHaveLength(100);
    expect(table.snapshot().held.size).toBe(100);
    expect(logger.lines).toHaveLength(1);
    table.expire(HOLD_DOWN_MS + 101);
    expect(keys()).toEqual([]);
  });

  it.each([
    ["half of the peers", 10, 5],
    ["all of three peers", 3, 0],
  ])("is none: %s", (_, before, after) => {
    const { list, change, keys, table } = lab();
    list(hosts(before), 0);
    change(
      hosts(before)
        .slice(after)
        .map(({ key }) => ({ type: "delete", key, revision: 1_001n })),
      1_000,
    );
    expect(table.snapshot().held.size).toBe(0);
    table.expire(2_000);
    expect(keys()).toHaveLength(after);
  });

  it("is none over a longer time", () => {
    const { list, del, keys, table } = lab();
    list(hosts(10), 0);
    for (let n = 2; n < 12; n++) {
      table.expire(n * 1_100);
      del(`10.2.${n}.0-24`, n * 1_100);
    }
    table.expire(100_000);
    // Of the last three, any number may leave at once.
    expect(keys()).toEqual([]);
  });

  it("ends for each peer that comes back", () => {
    const { list, table } = lab();
    list(hosts(10), 0);
    list([], 1_000);
    list(hosts(7), 2_000);
    expect(table.snapshot().held.size).toBe(3);
    expect(table.peers.size).toBe(10);
  });

  it.each([
    ["in the subnet", entry("10.2.2.0-25", 99)],
    ["with the address", entry("10.2.99.0-24", 99, { value: value(99, { ip: "192.168.0.2" }) })],
  ])("yields at once to a new lease %s of a held one", (_, newcomer) => {
    const { list, put, keys, reason } = lab();
    list(hosts(10), 0);
    list([], 1_000);
    put({ ...newcomer, createRevision: 900n, revision: 900n }, 1_100);
    expect(keys()).toContain(newcomer.key);
    expect(keys()).not.toContain("10.2.2.0-24");
    expect(keys()).toHaveLength(10);
    expect(reason(newcomer.key)).toBeUndefined();
  });
});

describe("a peer that vanishes because the store was away", () => {
  const AFTER_OUTAGE_MS = 12_000;

  it("is kept until its host could be back", () => {
    const { table, list, del, keys, logger } = lab();
    list(hosts(20));
    table.noteStore(false, 1_000);
    table.noteStore(true, 9_000);
    del("10.2.2.0-24", 9_500);
    expect(keys()).toHaveLength(20);
    expect([...table.snapshot().held]).toEqual(["10.2.2.0-24"]);
    table.expire(9_500 + AFTER_OUTAGE_MS - 1);
    expect(keys()).toHaveLength(20);
    expect(table.nextDeadlineMs).toBe(9_500 + AFTER_OUTAGE_MS);
    table.expire(9_500 + AFTER_OUTAGE_MS);
    expect(keys()).toHaveLength(19);
    expect(logger.lines.map(({ message }) => message)).toEqual([
      "peers vanished and are kept for now: the store may be at fault",
      "peers did not come back and are let go",
    ]);
  });
  it("and comes back was never away", () => {
    const { table, list, del, put } = lab();
    list(hosts(20));
    table.takeChanged();
    table.noteStore(false, 1_000);
    del("10.2.2.0-24", 1_500);
    table.noteStore(true, 2_000);
    put(entry("10.2.2.0-24", 2), 3_000);
    expect(table.expire(60_000)).toBe(false);
    expect(table.heldCount).toBe(0);
  });
  it("stays for as long as the store is away, however it vanished", () => {
    const { table, list, keys } = lab();
    list(hosts(20));
    list([], 1_000);
    table.noteStore(false, 2_000);
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
    table.expire(10 * HOLD_DOWN_MS);
    expect(keys()).toHaveLength(20);
    table.noteStore(true, 10 * HOLD_DOWN_MS);
    table.expire(10 * HOLD_DOWN_MS + AFTER_OUTAGE_MS);
    expect(keys()).toEqual([]);
  });
  it("is kept also when only our own renewal told of the outage", () => {
    const { table, list, del, keys } = lab();
    list(hosts(20));
    table.doubtStore(5_000);
    del("10.2.2.0-24", 5_100);
    expect(keys()).toHaveLength(20);
    table.doubtStore(5_000);
    del("10.2.3.0-24", 5_000 + AFTER_OUTAGE_MS + 1);
    table.expire(5_000 + AFTER_OUTAGE_MS + 1_500);
    expect(keys()).not.toContain("10.2.3.0-24");
  });
  it("is kept when it is missing from a listing after a gap, as in an older snapshot", () => {
    const { table, list, keys } = lab();
    list(hosts(20));
    list(hosts(19), 5_000);
    expect(keys()).toHaveLength(20);
    table.expire(5_000 + AFTER_OUTAGE_MS);
    expect(keys()).toHaveLength(19);
  });
  it("gives way at once to a lease in its place", () => {
    const { table, list, del, put, keys } = lab();
    list(hosts(20));
    table.doubtStore(5_000);
    del("10.2.2.0-24", 5_100);
    put(entry("10.2.99.0-24", 2), 5_200);
    expect(keys()).toContain("10.2.99.0-24");
    expect(keys()).not.toContain("10.2.2.0-24");
  });
  it("is held as long as configured when most do, and never with the hold-down off", () => {
    const { table, list, keys } = lab();
    list(hosts(20));
    list(hosts(2), 1_000);
    table.expire(1_000 + AFTER_OUTAGE_MS);
    expect(keys()).toHaveLength(20);
    table.expire(1_000 + HOLD_DOWN_MS);
    expect(keys()).toHaveLength(2);
    const off = lab({ holdDownMs: 0 });
    off.list(hosts(20));
    off.table.noteStore(false, 1_000);
    off.list(hosts(19), 1_000);
    expect(off.keys()).toHaveLength(19);
  });
});

describe("the network's ranges", () => {
  const elsewhere = entry("10.9.5.0-24", 5);

  it("grow by those of the newest valid configuration in the store", () => {
    const { list, change, keys, table } = lab();
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
    const { list, keys, table, reason } = lab();
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
    const { list, put, table } = lab();
    list(hosts(3));
    const snapshot = table.snapshot();
    expect(table.snapshot()).toBe(snapshot);
    put(entry("10.2.99.0-24", 99));
    expect(snapshot.peers.size).toBe(3);
    expect(table.snapshot().peers.size).toBe(4);
  });

  it("is synced after the first listing", () => {
    const { list, table } = lab();
    expect(table.snapshot().synced).toBe(false);
    list([]);
    expect(table.snapshot()).toMatchObject({ synced: true, revision: 1_000n });
  });

  it("shows what the newest value of a key is worth, beside the last good one", () => {
    const { list, put, table } = lab();
    list(hosts(2));
    const good: Lease | undefined = table.peers.get("10.2.2.0-24");
    put(entry("10.2.2.0-24", 2, { value: "[]", revision: 900n }));
    expect(table.snapshot().peers.get("10.2.2.0-24")).toBe(good);
    expect(table.snapshot().refused.get("10.2.2.0-24")?.reason).toMatch(/no JSON object/);
  });
});
