/** Desired state out of leases: what is planned anew, what stays the same array, and the form of routes. */

import { describe, expect, it } from "vitest";
import { NEXTHOP_THRESHOLD, Planner } from "../../../backends/planner.ts";
import type { KernelObject } from "../../../backends/state/kinds/registry.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { OWN, peer, peerMap, prepareVxlan } from "../../support/vxlan-fixture.ts";

const MANY = Array.from({ length: NEXTHOP_THRESHOLD }, (_, at) => peer(at + 2));
const FORWARDING: KernelObject = { kind: "sysctl", path: "net/ipv4/ip_forward", device: null, value: "1" };

describe("Planner", () => {
  it("plans this host and each peer, and adds what the agent wants besides", () => {
    const planner = new Planner(prepareVxlan(), true, () => [FORWARDING]);
    const { groups } = planner.plan({ own: OWN, peers: peerMap(peer(4), peer(5)) });
    expect([...groups.keys()]).toEqual(["base", peer(4).key, peer(5).key]);
    expect(groups.get("base")).toContain(FORWARDING);
    expect(kinds(groups.get(peer(4).key))).toEqual(["neighbour", "fdb", "route"]);
  });

  it("answers the same array for a lease that is the same object", () => {
    const planner = new Planner(prepareVxlan(), true);
    const [four, five] = [peer(4), peer(5)];
    const before = new Map(planner.plan({ own: OWN, peers: peerMap(four, five) }).groups);
    const after = planner.plan({ own: OWN, peers: peerMap(four, peer(5), peer(6)) }).groups;
    expect(after.get("base")).toBe(before.get("base"));
    expect(after.get(four.key)).toBe(before.get(four.key));
    expect(after.get(five.key)).not.toBe(before.get(five.key));
    expect(after.size).toBe(4);
    expect([...planner.plan({ own: OWN, peers: peerMap(five) }).groups.keys()]).toEqual(["base", five.key]);
  });

  it("looks only at the leases that are said to have changed", () => {
    const planner = new Planner(prepareVxlan(), true);
    const asked: string[] = [];
    const peers = peerMap(peer(4), peer(5));
    planner.plan({ own: OWN, peers });
    const next = watched(peerMap(peer(4), peer(6)), asked);
    const { groups, changed } = planner.plan({ own: OWN, peers: next, changed: [peer(5).key, peer(6).key] });
    expect([...groups.keys()]).toEqual(["base", peer(4).key, peer(6).key]);
    expect([...(changed ?? [])]).toEqual([peer(5).key, peer(6).key]);
    expect(asked).toEqual([peer(5).key, peer(6).key]);
  });

  it("says that the base changed with our own subnet", () => {
    const planner = new Planner(prepareVxlan(), true);
    planner.plan({ own: OWN, peers: new Map() });
    const { changed } = planner.plan({ own: { ...OWN }, peers: new Map(), changed: [] });
    expect([...(changed ?? [])]).toEqual(["base"]);
  });

  it("turns to nexthop objects for all at a size where plain routes are slow, and stays with them", () => {
    const planner = new Planner(prepareVxlan(), true);
    const few = MANY.slice(1);
    planner.plan({ own: OWN, peers: peerMap(...few) });
    const grown = planner.plan({ own: OWN, peers: peerMap(...MANY), changed: [peer(2).key] });
    expect(grown.changed).toBeUndefined();
    for (const lease of MANY) expect(kinds(grown.groups.get(lease.key))).toContain("nexthop");
    const shrunk = planner.plan({ own: OWN, peers: peerMap(peer(4)) });
    expect(kinds(shrunk.groups.get(peer(4).key))).toContain("nexthop");
  });

  it("does without nexthop objects on a kernel that has none", () => {
    const { groups } = new Planner(prepareVxlan(), false).plan({ own: OWN, peers: peerMap(...MANY) });
    expect(kinds(groups.get(peer(2).key))).toEqual(["neighbour", "fdb", "route"]);
  });
});

function kinds(objects: readonly KernelObject[] | undefined): string[] {
  return (objects ?? []).map(({ kind }) => kind);
}

function watched(peers: ReadonlyMap<string, Lease>, asked: string[]): ReadonlyMap<string, Lease> {
  const map = new Map(peers);
  const get = map.get.bind(map);
  map.get = (key) => {
    asked.push(key);
    return get(key);
  };
  return map;
}
