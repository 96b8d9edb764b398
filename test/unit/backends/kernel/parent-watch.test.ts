/** What is told about the tunnel's parent, and when. */

import { beforeEach, describe, expect, it } from "vitest";
import {
  compareParent,
  type ParentChange,
  type ParentFacts,
  ParentWatch,
} from "../../../../backends/kernel/parent-watch.ts";
import { parseInterfaceAddress } from "../../../../ipam/ip.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const FACTS: ParentFacts = {
  index: 2,
  mac: null,
  mtuBytes: 1500,
  isUp: true,
  addresses: [parseInterfaceAddress("192.0.2.1/24")],
};
const moved = { ...FACTS, addresses: [parseInterfaceAddress("192.0.2.9/24")] };

describe("compareParent", () => {
  it.each<[string, ParentFacts | null, ParentFacts | null, readonly string[]]>([
    ["nothing", FACTS, { ...FACTS, addresses: [parseInterfaceAddress("192.0.2.1/24")] }, []],
    ["still absent", null, null, []],
    ["vanished", FACTS, null, ["vanished"]],
    ["appeared", null, FACTS, ["appeared"]],
    ["another index, and all else with it", FACTS, { ...moved, index: 9, mtuBytes: 9000 }, ["replaced"]],
    ["another address", FACTS, moved, ["addresses"]],
    [
      "one more address",
      FACTS,
      { ...FACTS, addresses: [...FACTS.addresses, ...moved.addresses] },
      ["addresses"],
    ],
    ["MTU and state", FACTS, { ...FACTS, mtuBytes: 1400, isUp: false }, ["mtu", "state"]],
  ])("%s", (_what, before, after, expected) => {
    expect(compareParent(before, after).map(({ type }) => type)).toEqual(expected);
  });
});

describe("ParentWatch", () => {
  let clock: FakeClock;
  let now: ParentFacts | null;
  let told: ParentChange["type"][][];
  let errors: unknown[];
  let watch: ParentWatch;
  beforeEach(() => {
    clock = new FakeClock();
    now = FACTS;
    told = [];
    errors = [];
    watch = new ParentWatch({
      read: () => {
        if (now?.index === 666) throw new Error("cannot be read");
        return now;
      },
      onChange: (changes) => told.push(changes.map(({ type }) => type)),
      onError: (error) => errors.push(error),
      clock,
      quietMs: 200,
      patienceMs: 1000,
    });
  });

  it("tells once the interface is quiet", async () => {
    now = moved;
    watch.notice();
    await clock.advance(150);
    watch.notice();
    await clock.advance(150);
    expect(told).toEqual([]);
    await clock.advance(100);
    expect(told).toEqual([["addresses"]]);
    expect(watch.facts).toBe(moved);
  });

  it("has nothing to tell of an address that came back", async () => {
    now = { ...FACTS, addresses: [] };
    watch.notice();
    await clock.advance(50);
    now = FACTS;
    watch.notice();
    await clock.advance(1000);
    expect(told).toEqual([]);
  });

  it("does not wait for ever for an interface without rest", async () => {
    now = null;
    for (let at = 0; at < 11; at++) {
      watch.notice();
      await clock.advance(100);
    }
    expect(told).toEqual([["vanished"]]);
  });

  it("reports what it could not read and tries again at the next notice", async () => {
    now = { ...FACTS, index: 666 };
    watch.notice();
    await clock.advance(200);
    expect(errors).toEqual([new Error("cannot be read")]);
    now = null;
    watch.notice();
    await clock.advance(200);
    expect(told).toEqual([["vanished"]]);
  });

  it("is silent after stop", async () => {
    now = null;
    watch.notice();
    watch.stop();
    await clock.advance(5000);
    expect([told, errors]).toEqual([[], []]);
  });
});
