import { expect, it } from "vitest";
import { tells } from "../../../../agent/network/path-problems.ts";

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
