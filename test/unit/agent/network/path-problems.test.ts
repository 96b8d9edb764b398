import { expect, it } from "vitest";
import { explains, tells } from "../../../../agent/network/path-problems.ts";

it.each([
  ["match the blackhole route 10.2.54.0/24 of table 52", true],
  ["match the blackhole route 10.2.54.0/24 of table 5", false],
  ["10.2.54.0/24 of table 52", true],
  ["0.2.54.0/24 of table 52", false],
])("a finding about table 52 tells of %j: %j", (obstacle, expected) => {
  const finding =
    "peer node-2 is not reached: packets to 10.2.54.1 match the blackhole route 10.2.54.0/24 of table 52";
  expect(tells(finding, obstacle)).toBe(expected);
  expect(tells(`${finding}, and 7 more peers are concerned`, obstacle)).toBe(expected);
});

it("takes routes that are missing for a part of the interface's failure", () => {
  const down = { code: "interface-down", text: "this host's interface eth0 is down" } as const;
  const missing = { obstacle: "have no route (ENETUNREACH)", isMissingRoute: true };
  expect(explains(down, missing)).toBe(true);
  expect(explains(down, { ...missing, isMissingRoute: false })).toBe(false);
  expect(explains({ ...down, code: "host-down" }, missing)).toBe(false);
});
