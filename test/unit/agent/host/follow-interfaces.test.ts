import { expect, it } from "vitest";
import type { ChosenInterface, ChosenInterfaces } from "../../../../agent/host/choose-interface.ts";
import { followInterfaces, isAllKept } from "../../../../agent/host/follow-interfaces.ts";
import type { Family } from "../../../../ipam/addresses/ip.ts";
import { InterfaceError } from "../../../../ipam/errors.ts";

const named = (reason: string) => ({ reason }) as ChosenInterface;
const BEFORE = { 4: named("4"), 6: named("6") };

/** Of a host on which these families have an interface. */
const choosing =
  (...usable: readonly Family[]) =>
  (families: readonly Family[]): ChosenInterfaces => {
    const missing = families.find((family) => !usable.includes(family));
    if (missing !== undefined) throw new InterfaceError(`no IPv${missing}`, { retryable: true });
    return Object.fromEntries(families.map((family) => [family, named(`new ${family}`)]));
  };

const follow = (before: ChosenInterfaces, usable: readonly Family[]) => {
  const followed = followInterfaces(before, [4, 6], choosing(...usable));
  const { chosen, failure } = followed;
  return [chosen[4]?.reason, chosen[6]?.reason, failure?.message ?? null, isAllKept(before, followed)];
};

it("follows with the families that have an interface", () => {
  expect(follow(BEFORE, [4, 6])).toEqual(["new 4", "new 6", null, false]);
  expect(follow(BEFORE, [4])).toEqual(["new 4", "6", "no IPv6", false]);
  expect(follow(BEFORE, [6])).toEqual(["4", "new 6", "no IPv4", false]);
  expect(follow(BEFORE, [])).toEqual(["4", "6", "no IPv4", true]);
});

it("leaves out no family that this host has not used before", () => {
  expect(() => follow({ 4: BEFORE[4] }, [4])).toThrow("no IPv6");
});

it("passes on what is no matter of interfaces", () => {
  const failing = () => {
    throw new RangeError("a defect");
  };
  expect(() => followInterfaces(BEFORE, [4, 6], failing)).toThrow(RangeError);
});
