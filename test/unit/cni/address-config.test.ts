/** What the `ipam` part of a configuration may hold. */

import { expect, it } from "vitest";
import { parseAddressConfig } from "../../../cni-plugin/config/address-config.ts";
import type { JsonObject } from "../../../ipam/json.ts";

const SMALL = { ranges: [[{ subnet: "10.1.2.0/29" }]] };

it.each<[string, JsonObject]>([
  ["no ranges", {}],
  ["a range set that is not a list", { ranges: [{ subnet: "10.1.2.0/24" }] }],
  ["an empty range set", { ranges: [[]] }],
  ["a subnet that is not one", { ranges: [[{ subnet: "10.1.2" }]] }],
  ["a subnet of another type", { ranges: [[{ subnet: 7 }]] }],
  ["a tiny subnet", { ranges: [[{ subnet: "10.1.2.0/31" }]] }],
  ["a foreign gateway", { ranges: [[{ subnet: "10.1.2.0/24", gateway: "10.1.3.1" }]] }],
  [
    "a reversed range",
    { ranges: [[{ subnet: "10.1.2.0/24", rangeStart: "10.1.2.9", rangeEnd: "10.1.2.8" }]] },
  ],
  ["overlapping sets", { ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "10.1.0.0/16" }]] }],
  ["mixed families", { ranges: [[{ subnet: "10.1.2.0/24" }, { subnet: "fd00::/64" }]] }],
  ["routes of another type", { ...SMALL, routes: "x" }],
  ["a route that is not one", { ...SMALL, routes: [{ dst: "x" }] }],
  ["a dataDir of another type", { ...SMALL, dataDir: 5 }],
  ["an exclusion that is not one", { ...SMALL, exclude: ["x"] }],
])("rejects %s", (_, ipam) => {
  expect(() => parseAddressConfig({ ipam }, "")).toThrow(expect.objectContaining({ name: "CniError" }));
});

it("takes null for absent", () => {
  const nothing = parseAddressConfig({ ipam: SMALL }, "");
  const range = SMALL.ranges[0]?.[0];
  const ranges = [[{ ...range, rangeStart: null, rangeEnd: null, gateway: null }]];
  for (const more of [{ runtimeConfig: null, args: null }, { args: { cni: null } }, { ipam: { ranges } }])
    expect(parseAddressConfig({ ipam: SMALL, ...more }, "")).toEqual(nothing);
});
