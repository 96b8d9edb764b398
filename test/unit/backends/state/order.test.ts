/** Orders of application: what others stand on first, additions before deletions. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Change } from "../../../../backends/state/diff.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import { type KernelObject, keyOf } from "../../../../backends/state/kinds/registry.ts";
import { inOrder } from "../../../../backends/state/order.ts";
import { OWN, peer, prepareVxlan } from "../../../support/vxlan-fixture.ts";

const backend = prepareVxlan();
const base = backend.planBase(OWN);
const objects = [...base, ...backend.planPeer(peer(4), true), ...backend.planPeer(peer(5), true)];
const create = (object: KernelObject): Change => ({ op: "create", object });
const remove = (object: KernelObject): Change => ({ op: "delete", object });
const kinds = (changes: readonly Change[]) =>
  inOrder(changes.map((change) => ({ change })))
    .map(({ change }) => `${change.op} ${change.object.kind}`)
    .filter((kind, at, all) => kind !== all[at - 1]);

const UPWARDS = ["link", "sysctl", "address", "neighbour", "fdb", "nexthop", "route"];

describe("inOrder", () => {
  it("makes from the ground up and takes down from the top, whatever order is given", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(objects, { minLength: objects.length }), (shuffled) => {
        expect(kinds(shuffled.map(create))).toEqual(UPWARDS.map((kind) => `create ${kind}`));
        expect(kinds(shuffled.map(remove))).toEqual(UPWARDS.toReversed().map((kind) => `delete ${kind}`));
      }),
      { numRuns: 30 },
    );
  });

  it("adds before it deletes", () => {
    const changes = [...objects.map(remove), ...backend.planPeer(peer(6), true).map(create)];
    const deletions = kinds(changes).findIndex((line) => line.startsWith("delete"));
    expect(
      kinds(changes)
        .slice(deletions)
        .every((line) => line.startsWith("delete")),
    ).toBe(true);
  });

  it("first deletes a device whose VNI is needed", () => {
    const link = base.find((object): object is LinkObject => object.kind === "link") as LinkObject;
    const old = { ...link, name: "flannel.old" };
    const other = { ...old, name: "flannel.9", details: { ...old.details, vni: 9 } } as LinkObject;
    const ordered = inOrder([create(link), remove(old), remove(other)].map((change) => ({ change })));
    expect(ordered.map(({ change }) => keyOf(change.object))).toEqual([
      "link flannel.old",
      "link flannel.1",
      "link flannel.9",
    ]);
  });

  it("keeps the given order within one kind", () => {
    const routes = [9, 3, 7]
      .flatMap((n) => backend.planPeer(peer(n), false))
      .filter(({ kind }) => kind === "route");
    expect(
      inOrder(routes.map((object) => ({ change: create(object) }))).map(({ change }) => change.object),
    ).toEqual(routes);
  });
});
