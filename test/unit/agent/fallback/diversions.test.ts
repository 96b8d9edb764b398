/** Which peers are on the fall-back, by family, and those that are forgotten. */

import { expect, it } from "vitest";
import { Diversions } from "../../../../agent/fallback/diversions.ts";

it("knows each family of a peer for itself, and a peer once", () => {
  const diversions = new Diversions();
  diversions.set("a", 4, true);
  diversions.set("a", 6, true);
  diversions.set("b", 6, true);
  diversions.set("b", 6, false);
  expect([4, 6].map((family) => diversions.has("a", family as 4 | 6))).toEqual([true, true]);
  expect(diversions.has("b", 6)).toBe(false);
  expect([...diversions.peers]).toEqual(["a"]);
  expect(diversions.keepOnly(new Set(["a IPv4"]))).toEqual(["a"]);
  expect([diversions.has("a", 4), diversions.has("a", 6)]).toEqual([true, false]);
});
