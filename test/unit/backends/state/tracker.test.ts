/** The index of desired and actual state: what is pending after plans, dumps and events. */

import { describe, expect, it } from "vitest";
import {
  describe as describeObject,
  type KernelObject,
  keyOf,
} from "../../../../backends/state/kinds/registry.ts";
import { StateTracker } from "../../../../backends/state/tracker.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";
import { OWN, peer, prepareVxlan, scopeOf } from "../../../support/vxlan-fixture.ts";

const backend = prepareVxlan();
const base = backend.planBase(OWN);
const four = backend.planPeer(peer(4), false);
const five = backend.planPeer(peer(5), false);
const route = objectOf(four, "route");
const neighbour = objectOf(four, "neighbour");
const link = objectOf(base, "link");

describe("StateTracker", () => {
  it("wants what is planned and absent, and nothing once it is confirmed", () => {
    const tracker = planned();
    expect(ops(tracker)).toEqual([...base, ...four].map((object) => `create ${keyOf(object)} plan`).sort());
    settle(tracker);
    expect(ops(tracker)).toEqual([]);
    expect(tracker.isSettled).toBe(true);
    expect(tracker.desiredCount).toBe(base.length + four.length);
  });

  it("calls it the plan's work at first and a repair later", () => {
    const tracker = settled();
    tracker.forget(keyOf(route));
    expect(ops(tracker)).toEqual([`create ${keyOf(route)} kernel`]);
    tracker.observe({ ...route, gateway: Address.parse("10.2.9.9") });
    expect(ops(tracker)).toEqual([`replace ${keyOf(route)} kernel`]);
    tracker.observe({ ...route });
    expect(ops(tracker)).toEqual([]);
  });

  it("removes a group that left, and only looks at groups that the plan names", () => {
    const tracker = settled();
    tracker.setDesired({ type: "delta", groups: groups({ five: [] }) });
    expect(ops(tracker)).toEqual([]);
    tracker.setDesired({ type: "delta", groups: groups({ four: [] }) });
    expect(ops(tracker)).toEqual(four.map((object) => `delete ${keyOf(object)} plan`).sort());
    settle(tracker);
    expect(tracker.desiredCount).toBe(base.length);
    expect(tracker.actual(keyOf(route))).toBeUndefined();
  });

  it("never unwants what a new version of a group still has", () => {
    const tracker = settled();
    const changed = four.map((object) => (object.kind === "fdb" ? { ...object } : object));
    tracker.setDesired({ type: "whole", groups: groups({ base, four: changed }) });
    expect(ops(tracker)).toEqual([]);
    tracker.observe({ ...route, device: "under0", protocol: 4 });
    expect(ops(tracker)).toEqual([`replace ${keyOf(route)} kernel`]);
  });

  it("gives a key that two groups want to the other when one leaves", () => {
    const tracker = settled();
    const rival = { ...neighbour, mac: parseMac("02:00:00:00:99:99") };
    tracker.setDesired({ type: "whole", groups: groups({ base, four, rival: [rival] }) });
    expect(tracker.desired(keyOf(neighbour))).toBe(rival);
    settle(tracker);
    tracker.setDesired({ type: "whole", groups: groups({ base, four }) });
    expect(tracker.desired(keyOf(neighbour))).toBe(neighbour);
    expect(ops(tracker)).toEqual([`replace ${keyOf(neighbour)} plan`]);
    tracker.setDesired({ type: "whole", groups: groups({ base, four, rival: [rival] }) });
    tracker.setDesired({ type: "whole", groups: groups({ base, rival: [rival] }) });
    expect(tracker.desired(keyOf(neighbour))).toBe(rival);
    tracker.setDesired({ type: "whole", groups: groups({ base }) });
    expect(tracker.desired(keyOf(neighbour))).toBeUndefined();
    expect(tracker.desiredCount).toBe(base.length);
  });

  it("forgets all that lived on a device with the device", () => {
    const tracker = settled();
    tracker.forgetDevice(link.name);
    expect(ops(tracker)).toHaveLength(base.length + four.length);
    expect(ops(tracker).every((line) => line.startsWith("create ") && line.endsWith(" kernel"))).toBe(true);
  });

  it("takes a dump as the whole truth, and of two objects with one key the first", () => {
    const tracker = settled();
    const foreign: KernelObject = { ...route, device: "under0", gateway: null, protocol: 4 };
    tracker.replaceActual([...base, foreign, ...four]);
    expect(ops(tracker)).toEqual([`replace ${keyOf(route)} kernel`]);
    tracker.replaceActual([...base, ...four, foreign]);
    expect(ops(tracker)).toEqual([]);
    tracker.replaceActual(base);
    expect(ops(tracker)).toEqual(four.map((object) => `create ${keyOf(object)} kernel`).sort());
  });

  it("leaves a route that was there first to its owner, and says so", () => {
    const tracker = planned();
    tracker.observe({ ...route, device: "under0", gateway: null, isOnlink: false, protocol: 4 });
    expect(ops(tracker).filter((line) => line.includes(keyOf(route)))).toEqual([]);
    expect([...tracker.conflicts.keys()]).toEqual([keyOf(route)]);
    tracker.forget(keyOf(route));
    expect(ops(tracker)).toContain(`create ${keyOf(route)} plan`);
    expect(tracker.conflicts.size).toBe(0);
  });

  it("touches nothing on a device of its name that is somebody else's, and is not content with that", () => {
    const tracker = planned();
    tracker.observe({ kind: "link", name: link.name, type: "bridge", mac: null, mtuBytes: 1500, isUp: true });
    tracker.observe({
      ...objectOf(five, "fdb"),
      mac: parseMac("02:00:00:00:88:88"),
    });
    const kinds = tracker.pending().map(({ change }) => change.object.kind);
    expect(kinds).toEqual([]);
    expect(tracker.isSettled).toBe(false);
    tracker.forgetDevice(link.name);
    expect(ops(tracker)).toHaveLength(base.length + four.length);
  });

  it("removes a neighbour that somebody put on its device, and leaves entries that come and go alone", () => {
    const tracker = settled();
    const other = { ...neighbour, address: Address.parse("10.2.77.0") };
    tracker.observe({ ...other, isPermanent: false });
    expect(ops(tracker)).toEqual([]);
    tracker.observe(other);
    expect(ops(tracker)).toEqual([`delete ${keyOf(other)} kernel`]);
  });

  it("looks at everything again when the scope grows", () => {
    const tracker = settled();
    const old: KernelObject = { ...link, name: "flannel.9" };
    tracker.observe(old);
    expect(ops(tracker)).toEqual([]);
    const scope = scopeOf(backend);
    tracker.setScope({ ...scope, devices: new Set([...scope.devices, "flannel.9"]) });
    expect(ops(tracker)).toEqual(["delete link flannel.9 plan"]);
  });

  it("knows that only a dump helps when something happens to a key that is being changed", () => {
    const tracker = settled();
    tracker.forget(keyOf(route));
    const echo = (object: KernelObject | null): boolean => {
      const pending = tracker.pending();
      tracker.begin(pending);
      if (object === null) tracker.forget(keyOf(route));
      else tracker.observe(object);
      for (const one of pending) tracker.confirm(one);
      const hasContest = tracker.takeContest();
      tracker.forget(keyOf(route));
      return hasContest;
    };
    expect(echo({ ...route })).toBe(false);
    expect(echo(null)).toBe(true);
    expect(echo({ ...route, gateway: null })).toBe(true);
  });

  it("keeps what failed dirty, and notices a plan that moved on meanwhile", () => {
    const tracker = planned();
    const pending = tracker.pending();
    tracker.begin(pending);
    for (const one of pending) {
      if (one.key === keyOf(route)) tracker.fail(one);
      else tracker.confirm(one);
    }
    expect(ops(tracker)).toEqual([`create ${keyOf(route)} plan`]);
    const again = tracker.pending();
    tracker.begin(again);
    tracker.setDesired({ type: "whole", groups: groups({ base }) });
    for (const one of again) tracker.confirm(one);
    expect(ops(tracker)).toContain(`delete ${keyOf(route)} plan`);
  });
});

function planned(): StateTracker {
  const tracker = new StateTracker(scopeOf(backend));
  tracker.setDesired({ type: "whole", groups: groups({ base, four }) });
  return tracker;
}

function settled(): StateTracker {
  const tracker = planned();
  settle(tracker);
  tracker.pending();
  return tracker;
}

function settle(tracker: StateTracker): void {
  const pending = tracker.pending();
  tracker.begin(pending);
  for (const one of pending) tracker.confirm(one);
}

function groups(
  named: Readonly<Record<string, readonly KernelObject[]>>,
): Map<string, readonly KernelObject[]> {
  return new Map(Object.entries(named));
}

function ops(tracker: StateTracker): string[] {
  return tracker
    .pending()
    .map(({ change, key, cause }) => `${change.op} ${key} ${cause}`)
    .sort();
}

function objectOf<K extends KernelObject["kind"]>(
  objects: readonly KernelObject[],
  kind: K,
): Extract<KernelObject, { kind: K }> {
  const found = objects.find((object): object is Extract<KernelObject, { kind: K }> => object.kind === kind);
  if (found === undefined) throw new Error(`no ${kind} in ${objects.map(describeObject).join(", ")}`);
  return found;
}
