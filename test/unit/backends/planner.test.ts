/** Desired state from leases: what is planned again, what stays the same array, and the form of routes. */

import { describe, expect, it } from "vitest";
import { NEXTHOP_THRESHOLD, Planner } from "../../../backends/planner.ts";
import type { KernelObject } from "../../../backends/state/kinds/registry.ts";
import { allPeers, changedPeers, OWN, peer, peerMap, prepareVxlan } from "../../support/vxlan-fixture.ts";

const MANY = Array.from({ length: NEXTHOP_THRESHOLD }, (_, at) => peer(at + 2));
const FORWARDING: KernelObject = { kind: "sysctl", path: "net/ipv4/ip_forward", device: null, value: "1" };

describe("Planner", () => {
  it("plans this host and each peer, and adds what the agent wants besides", () => {
    const planner = new Planner(prepareVxlan(), true, () => [FORWARDING]);
    const { groups } = planner.plan({ own: OWN, peers: allPeers(peerMap(peer(4), peer(5))) });
    expect([...groups.keys()]).toEqual(["base", peer(4).key, peer(5).key]);
    expect(groups.get("base")).toContain(FORWARDING);
    expect(kinds(groups.get(peer(4).key))).toEqual(["neighbour", "fdb", "route"]);
  });

  it("answers the same array for a lease that is the same object", () => {
    const planner = new Planner(prepareVxlan(), true);
    const [four, five] = [peer(4), peer(5)];
    const before = planner.plan({ own: OWN, peers: allPeers(peerMap(four, five)) }).groups;
    const after = planner.plan({ own: OWN, peers: allPeers(peerMap(four, peer(5), peer(6))) }).groups;
    expect(after.get(four.key)).toBe(before.get(four.key));
    expect(after.get(five.key)).not.toBe(before.get(five.key));
    expect(after.size).toBe(4);
    const last = planner.plan({ own: OWN, peers: allPeers(peerMap(five)) });
    expect([...last.groups.keys()]).toEqual(["base", five.key]);
  });

  it("names what came, changed and went, and changes no earlier plan", () => {
    const planner = new Planner(prepareVxlan(), true);
    const peers = peerMap(peer(4), peer(5));
    const first = planner.plan({ own: OWN, peers: allPeers(peers) });
    const next = peerMap(peer(4), peer(6));
    const plan = planner.plan({ own: OWN, peers: changedPeers(next, peer(5).key, peer(6).key) });
    expect(plan.type).toBe("delta");
    expect([...plan.groups.keys()]).toEqual([peer(5).key, peer(6).key]);
    expect(plan.groups.get(peer(5).key)).toEqual([]);
    expect(kinds(plan.groups.get(peer(6).key))).toEqual(["neighbour", "fdb", "route"]);
    expect([...first.groups.keys()]).toEqual(["base", peer(4).key, peer(5).key]);
  });

  it("says that the base changed with our own subnet", () => {
    const planner = new Planner(prepareVxlan(), true);
    planner.plan({ own: OWN, peers: allPeers(peerMap()) });
    const { type, groups } = planner.plan({ own: { ...OWN }, peers: changedPeers(peerMap()) });
    expect([type, [...groups.keys()]]).toEqual(["delta", ["base"]]);
  });

  it("turns to nexthop objects for all at a size where plain routes are slow, and stays with them", () => {
    const planner = new Planner(prepareVxlan(), true);
    const few = MANY.slice(1);
    planner.plan({ own: OWN, peers: allPeers(peerMap(...few)) });
    const grown = planner.plan({ own: OWN, peers: changedPeers(peerMap(...MANY), peer(2).key) });
    expect(grown.type).toBe("whole");
    for (const lease of MANY) expect(kinds(grown.groups.get(lease.key))).toContain("nexthop");
    const shrunk = planner.plan({ own: OWN, peers: allPeers(peerMap(peer(4))) });
    expect(kinds(shrunk.groups.get(peer(4).key))).toContain("nexthop");
    planner.replan(prepareVxlan({ MTU: 1400 }));
    const replanned = planner.plan({ own: OWN, peers: changedPeers(peerMap(peer(4))) });
    expect(replanned.type).toBe("whole");
    expect(kinds(replanned.groups.get(peer(4).key))).toContain("nexthop");
  });

  it("plans some peers again where the backend answers differently, and no others", () => {
    let suffix = "a";
    const planObject = (lease: { readonly key: string }): KernelObject[] => [
      { kind: "sysctl", path: `${lease.key}/${suffix}`, device: null, value: "1" },
    ];
    const planner = new Planner({ planBase: () => [], planPeer: planObject }, true);
    planner.plan({ own: OWN, peers: allPeers(peerMap(peer(2), peer(3))) });
    suffix = "b";
    const { type, groups } = planner.replanPeers([peer(2).key, peer(9).key]);
    expect([type, [...groups.keys()]]).toEqual(["delta", [peer(2).key]]);
    expect(groups.get(peer(2).key)).toEqual(planObject(peer(2)));
    const whole = planner.plan({ own: { ...OWN }, peers: changedPeers(peerMap(peer(4))) });
    expect(whole.groups.has(peer(2).key)).toBe(false);
  });

  it("does without nexthop objects on a kernel that has none", () => {
    const { groups } = new Planner(prepareVxlan(), false).plan({
      own: OWN,
      peers: allPeers(peerMap(...MANY)),
    });
    expect(kinds(groups.get(peer(2).key))).toEqual(["neighbour", "fdb", "route"]);
  });
});

function kinds(objects: readonly KernelObject[] | undefined): string[] {
  return (objects ?? []).map(({ kind }) => kind);
}
