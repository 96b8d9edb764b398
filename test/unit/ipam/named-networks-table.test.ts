/** The view of named networks: who goes when, who is held, whose address counts, and what it costs. */

import { describe, expect, it } from "vitest";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { encodeCatalogue, entryOf } from "../../../ipam/named-networks/catalogue-record.ts";
import { encodeHost, encodeMembers } from "../../../ipam/named-networks/member-codec.ts";
import type { Member, NamedNetwork, NetworkId } from "../../../ipam/named-networks/named-network.ts";
import { NamedNetworksTable } from "../../../ipam/named-networks/networks-table.ts";
import { CATALOGUE_RECORD, hostRecord, membersRecord } from "../../../ipam/named-networks/record-names.ts";
import type { StoreEntry } from "../../../ipam/stores/contracts.ts";
import { hostId, hostRecordOf, memberOf } from "../../support/named-networks/lab.ts";

const GRACE_MS = 2_000;
const HOLD_DOWN_MS = 60_000;
const SELF = 99;

let revision = 0n;
const nextRevision = (): bigint => {
  revision += 1n;
  return revision;
};
const entry = (key: string, value: string): StoreEntry => {
  const created = nextRevision();
  return { key, value, revision: created, createRevision: created, storeLeaseId: null };
};

function networkOf(index: number): NamedNetwork {
  const subnet = Prefix.of(Address.of(4, 0x0a000000n + (BigInt(index) << 16n)), 16);
  return {
    id: index.toString(16).padStart(32, "a") as NetworkId,
    name: `network${index}`,
    vni: 4096 + index,
    pools: { 4: { subnet, allocation: subnet, gateway: subnet.base.plus(1), excluded: [] } },
    ...{ isInternal: false, hasBroadcast: false, mtuBytes: null, labels: {}, options: {} },
    createdSeconds: 0,
  };
}

const blue = networkOf(0);
const at = (offset: number, network = blue) => ({ 4: network.pools[4]?.subnet.base.plus(offset) as Address });
const catalogueEntry = (...networks: NamedNetwork[]) =>
  entry(CATALOGUE_RECORD, encodeCatalogue({ networks: networks.map(entryOf), drafts: [], others: {} }));
const hostEntry = (number: number) => entry(hostRecord(hostId(number)), encodeHost(hostRecordOf(number)));
const membersEntry = (number: number, members: readonly Member[], network = blue) =>
  entry(membersRecord(network.id, hostId(number)), encodeMembers(members));

/** A table that follows the store, with one member on each of `count` hosts. */
function tableOf(count: number) {
  const table = new NamedNetworksTable(hostId(SELF), { leaveGraceMs: GRACE_MS, holdDownMs: HOLD_DOWN_MS });
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const entries = [
    catalogueEntry(blue),
    ...numbers.map(hostEntry),
    ...numbers.map((number) => membersEntry(number, [memberOf(`e${number}`, at(number + 1))])),
  ];
  table.storeFound(-100_000);
  table.apply({ type: "list", revision, entries }, 0);
  const change = (nowMs: number, ...changes: (StoreEntry | string)[]) =>
    table.apply(
      {
        type: "changes",
        revision,
        changes: changes.map((each) =>
          typeof each === "string"
            ? { type: "delete" as const, key: each, revision: nextRevision() }
            : { type: "put" as const, entry: each },
        ),
      },
      nowMs,
    );
  const shown = () =>
    [...(table.view.members.get(blue.id)?.values() ?? [])]
      .flatMap(({ members }) => members.map(({ endpoint }) => endpoint))
      .sort();
  return { table, entries, change, shown };
}

describe("a host that is gone", () => {
  it("loses its members after the grace, and gets them back with its record", () => {
    const { table, change, shown } = tableOf(5);
    change(1_000, hostRecord(hostId(1)));
    expect(shown()).toHaveLength(5);
    table.expire(1_000 + GRACE_MS - 1);
    expect(shown()).toHaveLength(5);
    expect(table.nextDeadlineMs).toBe(1_000 + GRACE_MS);
    table.expire(1_000 + GRACE_MS);
    expect(shown()).toEqual(["e2", "e3", "e4", "e5"]);
    expect(table.view.hosts.size).toBe(4);
    change(9_000, hostEntry(1));
    expect(shown()).toHaveLength(5);
  });

  it("stays while the store is away, and long enough after to come back", () => {
    const { table, entries, shown } = tableOf(5);
    table.storeLost();
    table.expire(1_000_000);
    expect(shown()).toHaveLength(5);
    table.storeFound(1_000_000);
    const left = entries.filter(({ key }) => key !== hostRecord(hostId(1)) && !key.endsWith(hostId(2)));
    table.apply({ type: "list", revision, entries: left }, 1_000_000);
    expect(shown()).toHaveLength(5);
    table.expire(1_005_000);
    expect(shown()).toHaveLength(5);
    table.expire(1_020_000);
    expect(shown()).toEqual(["e3", "e4", "e5"]);
  });

  it("stays for the hold-down when most vanish at once", () => {
    const { table, change, shown } = tableOf(6);
    change(1_000, ...[1, 2, 3, 4].map((number) => hostRecord(hostId(number))));
    table.expire(1_000 + GRACE_MS * 2);
    expect(shown()).toHaveLength(6);
    table.expire(1_000 + HOLD_DOWN_MS);
    expect(shown()).toEqual(["e5", "e6"]);
  });

  it("does not come back with members that were removed with it while the store was away", () => {
    const { table, entries, change, shown } = tableOf(5);
    table.storeLost();
    table.storeFound(1_000_000);
    const left = entries.filter(({ key }) => !key.endsWith(hostId(1)));
    table.apply({ type: "list", revision, entries: left }, 1_000_000);
    table.expire(table.nextDeadlineMs);
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
    expect(shown()).toEqual(["e2", "e3", "e4", "e5"]);
    // Meanwhile another host's container has the address.
    change(1_100_000, membersEntry(2, [memberOf("e6", at(2))]));
    change(1_200_000, hostEntry(1));
    expect(shown()).toEqual(["e3", "e4", "e5", "e6"]);
  });

  it("stays with its members when most vanish, however many networks the others are in", () => {
    const { table, entries, change, shown } = tableOf(5);
    const others = [1, 2, 3].map(networkOf);
    const more = others.flatMap((network) =>
      [4, 5].map((number) => membersEntry(number, [memberOf(`n${number}`, at(number, network))], network)),
    );
    change(500, catalogueEntry(blue, ...others), ...more);
    const left = [...entries, ...more].filter(({ key }) => ![1, 2, 3].some((n) => key.endsWith(hostId(n))));
    table.apply({ type: "list", revision, entries: left }, 1_000);
    table.expire(1_000 + HOLD_DOWN_MS - 1);
    expect(shown()).toHaveLength(5);
    table.expire(1_000 + HOLD_DOWN_MS);
    expect(shown()).toEqual(["e4", "e5"]);
    change(100_000, hostEntry(1));
    expect(shown()).toEqual(["e4", "e5"]);
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
  });

  it("keeps members that it writes a moment after its own record", () => {
    const { table, entries, change, shown } = tableOf(5);
    const left = entries.filter(({ key }) => !key.endsWith(hostId(1)));
    table.apply({ type: "list", revision, entries: left }, 1_000);
    change(1_500, hostEntry(1));
    expect(shown()).toHaveLength(5);
    change(1_600, membersEntry(1, [memberOf("e1", at(2))]));
    expect(table.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY);
    expect(shown()).toHaveLength(5);
  });

  it("loses single members at once", () => {
    const { change, shown } = tableOf(3);
    change(1_000, membersEntry(1, []), membersRecord(blue.id, hostId(2)));
    expect(shown()).toEqual(["e3"]);
  });
});

describe("what counts", () => {
  it("is what was known when the catalogue is deleted, damaged or lost in part", () => {
    const { table, change, shown } = tableOf(2);
    for (const value of ["{", "[]", '{"networks":5}', JSON.stringify({ networks: [{ id: blue.id }] })]) {
      change(1_000, entry(CATALOGUE_RECORD, value));
      expect(shown()).toEqual(["e1", "e2"]);
    }
    change(2_000, CATALOGUE_RECORD);
    expect(shown()).toEqual(["e1", "e2"]);
    expect(table.problems.join()).toMatch(/named\/catalogue: it was deleted/);
    change(3_000, catalogueEntry());
    expect(shown()).toEqual([]);
    expect(table.view.networks.size).toBe(0);
    change(4_000, catalogueEntry(blue));
    expect(shown()).toEqual(["e1", "e2"]);
    expect(table.problems).toEqual([]);
  });

  it("is what was known of a damaged network, also after a restart", () => {
    const green = networkOf(1);
    const damaged: unknown[] = [{ id: blue.id }, { id: 5 }, "blue", null];
    for (const value of damaged) {
      const { table, change, shown } = tableOf(2);
      const text = JSON.stringify({ networks: [value, entryOf(green).raw] });
      change(1_000, entry(CATALOGUE_RECORD, text));
      const next = new NamedNetworksTable(hostId(SELF), { leaveGraceMs: GRACE_MS, holdDownMs: HOLD_DOWN_MS });
      next.restore(table.entries);
      next.apply(
        { type: "list", revision, entries: [...table.entries.slice(1), entry(CATALOGUE_RECORD, text)] },
        0,
      );
      expect(shown(), text).toEqual(["e1", "e2"]);
      expect([...next.view.networks.keys()].sort()).toEqual([blue.id, green.id].sort());
      expect(next.view.members.get(blue.id)?.size).toBe(2);
    }
  });

  it("is the older record where two hosts have one address or one MAC, this host's own included", () => {
    const { table, change, shown } = tableOf(2);
    change(1_000, membersEntry(3, [memberOf("thief", at(2)), memberOf("honest", at(50))]), hostEntry(3));
    expect(shown()).toEqual(["e1", "e2", "honest"]);
    expect(table.problems.join()).toMatch(/container thief: 10\.0\.0\.2 belongs to a container on host 0+1/);
    const mac = memberOf("e2", at(3)).mac;
    table.setOwn(blue.id, [memberOf("mine", at(60)), memberOf("copy", at(61), { mac })], null);
    expect(shown()).toEqual(["e1", "e2", "honest", "mine"]);
    change(2_000, membersEntry(1, []));
    expect(shown()).toEqual(["e2", "honest", "mine", "thief"]);
  });

  it("is nothing of a network, or of a host, that is not there", () => {
    const { change, shown, table } = tableOf(1);
    change(1_000, membersEntry(7, [memberOf("homeless", at(9))]));
    expect(shown()).toEqual(["e1"]);
    const green = networkOf(1);
    change(1_000, membersEntry(1, [memberOf("early", at(9, green))], green));
    expect(table.view.members.has(green.id)).toBe(false);
    change(1_000, catalogueEntry(blue, green));
    expect(table.view.members.get(green.id)?.size).toBe(1);
  });
});

describe("a change", () => {
  it("replaces only the network that it concerns, and nothing when nothing changes", () => {
    const { table, change } = tableOf(3);
    const green = networkOf(1);
    change(1_000, catalogueEntry(blue, green), membersEntry(1, [memberOf("x", at(9, green))], green));
    const before = table.view;
    change(2_000, membersEntry(2, [memberOf("other", at(77))]));
    expect(table.view).not.toBe(before);
    expect(table.view.members.get(green.id)).toBe(before.members.get(green.id));
    expect(table.view.members.get(blue.id)?.get(hostId(1))).toBe(before.members.get(blue.id)?.get(hostId(1)));
    const same = table.view;
    change(3_000, hostEntry(2));
    expect(table.view).toBe(same);
  });

  it("costs no more than itself among 10,000 endpoints", () => {
    const { table, change } = tableOf(50);
    const networks = Array.from({ length: 100 }, (_, index) => networkOf(index));
    const hosts = Array.from({ length: 50 }, (_, index) => index + 1);
    const startMs = performance.now();
    change(0, catalogueEntry(...networks));
    for (const network of networks)
      for (const host of hosts) {
        const members = [0, 1].map((index) =>
          memberOf(`h${host}-${index}`, at(host * 2 + index + 10, network), {
            mac: `02:00:00:00:0${index}:${host.toString(16).padStart(2, "0")}` as Member["mac"],
          }),
        );
        change(0, membersEntry(host, members, network));
      }
    expect([...table.view.members.values()].reduce((sum, each) => sum + each.size, 0)).toBe(5_000);
    const filledMs = performance.now() - startMs;
    const changes = 1_000;
    const changeMs = performance.now();
    for (let count = 0; count < changes; count += 1) {
      change(0, membersEntry(1, [memberOf("moving", at(1_000 + count))]));
      expect(table.view.members.get(blue.id)?.get(hostId(1))?.members).toHaveLength(1);
    }
    // Quadratic work would take minutes; the bench measures.
    expect(filledMs).toBeLessThan(10_000);
    expect(performance.now() - changeMs).toBeLessThan(10_000);
  });
});
