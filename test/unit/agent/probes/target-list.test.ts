/** The daemon's list of targets, as another program reads it. */

import { expect, it } from "vitest";
import { readTargets, type TargetList } from "../../../../agent/probes/target-list.ts";
import { TARGET } from "./target-fixture.ts";

const LIST: TargetList = {
  targets: [TARGET],
  devices: ["flannel.1"],
  interfaces: { 4: "eth0" },
  sources: { 4: TARGET.outer },
  subnets: { 4: TARGET.subnet },
  histories: { [TARGET.id]: { inner: true, tcp: false, outer: true } },
  membershipProblem: "peers send nothing to this host: they reject its lease 10.2.9.0-24",
  hostNames: { [TARGET.peer]: "two" },
};
const written: unknown = JSON.parse(JSON.stringify(LIST));

it("is read as it was written", () => {
  expect(readTargets(written)).toEqual(LIST);
});

it("has no histories from a daemon that tells none, and takes nothing else for one", () => {
  const given = (histories: unknown) => readTargets({ ...(written as object), histories }).histories;
  expect(given(undefined)).toEqual({});
  expect(given({ one: 7, two: { inner: "yes" } })).toEqual({
    two: { inner: false, tcp: false, outer: false },
  });
});
