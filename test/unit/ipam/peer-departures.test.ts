/** Peers that vanish: who goes at once, who stays a while, and who is held when the store is in doubt. */

import { describe, expect, it } from "vitest";
import { markLeaving } from "../../../ipam/leases/lease-codec.ts";
import { entry, value } from "../../support/lease-fixture.ts";
import { HOLD_DOWN_MS, hosts, LEAVE_GRACE_MS, peerTableLab } from "../../support/peer-table-lab.ts";

describe("a peer that vanishes", () => {
  it("is kept for the leave grace, then goes", () => {
    const { list, del, keys, table } = peerTableLab();
    list(hosts(10));
    table.takeChanged();
    del("10.2.2.0-24", 5_000);
    expect(keys()).toHaveLength(10);
    expect([...table.takeChanged()]).toEqual([]);
    expect(table.nextDeadlineMs).toBe(5_000 + LEAVE_GRACE_MS);
    expect(table.expire(4_999 + LEAVE_GRACE_MS)).toBe(false);
    expect(table.expire(5_000 + LEAVE_GRACE_MS)).toBe(true);
    expect(keys()).toHaveLength(9);
    expect([...table.takeChanged()]).toEqual(["10.2.2.0-24"]);
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
  });

  it("goes at once when its host marked the lease as given up", () => {
    const { list, put, del, keys } = peerTableLab();
    list(hosts(10));
    const given = entry("10.2.2.0-24", 2);
    put({ ...given, value: markLeaving(given.value), revision: 900n }, 5_000);
    expect(keys()).toHaveLength(10);
    del("10.2.2.0-24", 5_001);
    expect(keys()).toHaveLength(9);
  });

  it("goes at once without a leave grace", () => {
    const { list, del, keys, table } = peerTableLab({ leaveGraceMs: 0 });
    list(hosts(10));
    del("10.2.2.0-24", 5_000);
    expect(table.nextDeadlineMs).toBe(5_000);
    expect(table.expire(5_000)).toBe(true);
    expect(keys()).toHaveLength(9);
  });

  it("gives way at once to another lease in its subnet, or with its address", () => {
    const { list, del, put, keys } = peerTableLab();
    list(hosts(10));
    del("10.2.2.0-24", 5_000);
    put({ ...entry("10.2.2.0-25", 99), createRevision: 900n, revision: 900n }, 5_001);
    expect(keys()).toContain("10.2.2.0-25");
    del("10.2.3.0-24", 5_002);
    put(entry("10.2.99.0-24", 3, { createRevision: 901n, revision: 901n }), 5_003);
    expect(keys()).toContain("10.2.99.0-24");
    expect(keys()).toHaveLength(10);
  });

  it.each([
    ["in the subnet", entry("10.2.2.0-25", 99)],
    ["with the address", entry("10.2.99.0-24", 2)],
  ])("goes at once when a lease %s waits for it, unless that one vanishes with it", (_, given) => {
    const waiter = { ...given, createRevision: 900n, revision: 900n };
    const gone = ["10.2.2.0-24", waiter.key].map(
      (key) => ({ type: "delete", key, revision: 1_001n }) as const,
    );
    const before = hosts(10).map(({ key }) => key);
    const orders = [gone, gone.toReversed(), [{ type: "put", entry: waiter } as const, ...gone]];
    for (const changes of orders) {
      const { list, change, keys } = peerTableLab();
      list([...hosts(10), waiter]);
      change(changes, 1_000);
      expect(keys()).toEqual([...before].sort());
    }
    const { list, change, keys } = peerTableLab();
    list([...hosts(10), waiter]);
    change([...gone, { type: "put", entry: waiter }], 1_000);
    expect(keys()).toContain(waiter.key);
    expect(keys()).not.toContain("10.2.2.0-24");
  });

  it.each([
    ["of another backend", entry("10.2.2.0-25", 99, { value: value(99, { backendType: "host-gw" }) })],
    ["without a usable address", entry("10.2.2.0-25", 99, { value: value(99, { ip: "127.0.0.1" }) })],
    ["outside the network", entry("10.9.2.0-24", 2)],
    ["with the address of another host", entry("10.2.2.0-25", 3)],
  ])("does not give way to a lease that is rejected itself: %s", (_, given) => {
    const { list, del, put, keys, reason } = peerTableLab();
    list(hosts(10));
    del("10.2.2.0-24", 5_000);
    put({ ...given, createRevision: 900n, revision: 900n }, 5_001);
    expect(reason(given.key)).toBeDefined();
    expect(keys()).toContain("10.2.2.0-24");
  });

  it("and is created again within the grace interrupts nothing", () => {
    const { list, del, put, table } = peerTableLab();
    list(hosts(10));
    table.takeChanged();
    del("10.2.2.0-24", 5_000);
    put(entry("10.2.2.0-24", 2, { revision: 900n, createRevision: 900n }), 6_900);
    expect(table.expire(100_000)).toBe(false);
    expect(table.peers.get("10.2.2.0-24")?.revision).toBe(900n);
  });

  it("goes after the grace when the hold-down is off", () => {
    const { list, keys, table } = peerTableLab({ holdDownMs: 0 });
    list(hosts(10));
    list([]);
    table.expire(LEAVE_GRACE_MS);
    expect(keys()).toEqual([]);
  });
});

describe("a mass disappearance", () => {
  it.each([
    ["in one listing", (parts: ReturnType<typeof peerTableLab>) => parts.list(hosts(4), 1_000)],
    ["in an empty listing", (parts: ReturnType<typeof peerTableLab>) => parts.list([], 1_000)],
    [
      "one by one within a second",
      (parts: ReturnType<typeof peerTableLab>) => {
        for (let n = 6; n < 12; n++) parts.del(`10.2.${n}.0-24`, 100 * n);
      },
    ],
  ])("is held down: %s", (_, vanish) => {
    const parts = peerTableLab();
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
    expect(logger.lines.at(-1)?.message).toMatch(/are removed/);
  });

  it("is held down to the last peer, although leases that vanish as well waited for some", () => {
    const { list, keys } = peerTableLab();
    const waiter = entry("10.2.2.0-25", 99, { createRevision: 900n, revision: 900n });
    list([...hosts(10), waiter]);
    list([], 1_000);
    expect(keys()).toEqual(
      hosts(10)
        .map(({ key }) => key)
        .sort(),
    );
  });

  it("is held down to the last peer, although the last ones are few", () => {
    const { list, del, keys, table, logger } = peerTableLab();
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
    const { list, change, keys, table } = peerTableLab();
    list(hosts(before), 0);
    change(
      hosts(before)
        .slice(after)
        .map(({ key }) => ({ type: "delete", key, revision: 1_001n })),
      1_000,
    );
    expect(table.snapshot().held.size).toBe(0);
    table.expire(1_000 + LEAVE_GRACE_MS);
    expect(keys()).toHaveLength(after);
  });

  it("is none over a longer time", () => {
    const { list, del, keys, table } = peerTableLab();
    list(hosts(10), 0);
    for (let n = 2; n < 12; n++) {
      table.expire(n * (LEAVE_GRACE_MS + 100));
      del(`10.2.${n}.0-24`, n * (LEAVE_GRACE_MS + 100));
    }
    table.expire(100_000);
    // Of the last three, any number may leave at once.
    expect(keys()).toEqual([]);
  });

  it("ends for each peer that comes back", () => {
    const { list, table } = peerTableLab();
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
    const { list, put, keys, reason } = peerTableLab();
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
    const { table, list, del, keys, logger } = peerTableLab();
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
      "peers did not come back and are removed",
    ]);
  });
  it("and comes back was never away", () => {
    const { table, list, del, put } = peerTableLab();
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
    const { table, list, keys } = peerTableLab();
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
    const { table, list, del, keys } = peerTableLab();
    list(hosts(20));
    table.suspectStore(5_000);
    del("10.2.2.0-24", 5_100);
    expect(keys()).toHaveLength(20);
    table.suspectStore(5_000);
    del("10.2.3.0-24", 5_000 + AFTER_OUTAGE_MS + 1);
    table.expire(5_001 + AFTER_OUTAGE_MS + LEAVE_GRACE_MS);
    expect(keys()).not.toContain("10.2.3.0-24");
  });
  it("is kept when it is missing from a listing after a gap, as in an older snapshot", () => {
    const { table, list, keys } = peerTableLab();
    list(hosts(20));
    list(hosts(19), 5_000);
    expect(keys()).toHaveLength(20);
    table.expire(5_000 + AFTER_OUTAGE_MS);
    expect(keys()).toHaveLength(19);
  });
  it("gives way at once to a lease in its place", () => {
    const { table, list, del, put, keys } = peerTableLab();
    list(hosts(20));
    table.suspectStore(5_000);
    del("10.2.2.0-24", 5_100);
    put(entry("10.2.99.0-24", 2), 5_200);
    expect(keys()).toContain("10.2.99.0-24");
    expect(keys()).not.toContain("10.2.2.0-24");
  });
  it("is held as long as configured when most do, and never with the hold-down off", () => {
    const { table, list, keys } = peerTableLab();
    list(hosts(20));
    list(hosts(2), 1_000);
    table.expire(1_000 + AFTER_OUTAGE_MS);
    expect(keys()).toHaveLength(20);
    table.expire(1_000 + HOLD_DOWN_MS);
    expect(keys()).toHaveLength(2);
    const off = peerTableLab({ holdDownMs: 0 });
    off.list(hosts(20));
    off.table.noteStore(false, 1_000);
    off.list(hosts(19), 1_000);
    off.table.expire(1_000 + LEAVE_GRACE_MS);
    expect(off.keys()).toHaveLength(19);
  });
});

describe("held peers of a former run", () => {
  const all = hosts(10);
  const [back] = all;
  if (back === undefined) throw new Error("no hosts");

  function held() {
    const { list, table } = peerTableLab();
    list(all);
    list([], 1_000);
    return table.heldPeers;
  }

  it("stay as long as without the restart, but for those that are back", () => {
    const { table, list, keys } = peerTableLab();
    table.restore(held(), 11_000);
    expect(keys()).toHaveLength(10);
    list([back], 11_000);
    expect(keys()).toHaveLength(10);
    expect([...table.snapshot().held]).toHaveLength(9);
    expect(table.nextDeadlineMs).toBe(1_000 + HOLD_DOWN_MS);
    table.expire(1_000 + HOLD_DOWN_MS);
    expect(keys()).toEqual([back.key]);
  });

  it("stay no longer than the hold-down after a reboot, and some seconds when the store may have been away", () => {
    for (const [nowMs, untilMs] of [
      [10, 10 + HOLD_DOWN_MS],
      [100_000, 112_000],
    ] as const) {
      const { table, list } = peerTableLab();
      table.restore(held(), nowMs);
      list([], nowMs);
      expect(table.nextDeadlineMs).toBe(untilMs);
    }
  });

  it("stay not at all with the hold-down off", () => {
    const { table, list, keys } = peerTableLab({ holdDownMs: 0 });
    table.restore(held(), 11_000);
    list([back], 11_000);
    expect(keys()).toEqual([back.key]);
  });

  it("that were not held stay as long as those that vanish now", () => {
    const { table, list, keys } = peerTableLab();
    const leases = held().map(({ lease }) => lease);
    table.restore(
      leases.map((lease) => ({ lease, untilMs: Number.POSITIVE_INFINITY })),
      50_000,
    );
    list([back], 50_000);
    expect([...table.snapshot().held]).toHaveLength(9);
    expect(table.nextDeadlineMs).toBe(50_000 + HOLD_DOWN_MS);
    table.expire(50_000 + HOLD_DOWN_MS);
    expect(keys()).toEqual([back.key]);
  });

  it("that are in the store with a damaged value are used by the last good one", () => {
    const { table, list, keys, reason } = peerTableLab();
    const [{ lease }] = held() as [ReturnType<typeof held>[number]];
    table.restore([{ lease, untilMs: null }], 50_000);
    list([{ ...back, key: lease.key, value: "{", revision: 900n }], 50_000);
    expect(keys()).toEqual([lease.key]);
    expect(table.peers.get(lease.key)).toBe(lease);
    expect(reason(lease.key)).toBeDefined();
    expect(table.heldCount).toBe(0);
  });

  it("give way to a lease that took their subnet, and to our own", () => {
    const { table, list, keys } = peerTableLab();
    table.restore([...held(), ...ownHeld()], 11_000);
    list([entry("10.2.2.0-25", 99), entry("10.2.1.0-24", 1)], 11_000);
    expect(keys()).toContain("10.2.2.0-25");
    expect(keys()).not.toContain("10.2.2.0-24");
    expect(keys()).not.toContain("10.2.1.0-24");
  });

  function ownHeld() {
    const { list, table } = peerTableLab();
    table.setOwnKey(null);
    const strangers = [entry("10.2.1.0-24", 77), ...hosts(4)];
    list(strangers);
    list([], 1_000);
    return table.heldPeers;
  }
});
