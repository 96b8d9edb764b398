/** What is said of a store that cannot be followed. */

import { expect, it } from "vitest";
import { StoreOutage } from "../../../../agent/network/store-outage.ts";

it("counts from the first failure, names the last one, and is over when the store is followed again", () => {
  const outage = new StoreOutage();
  expect(outage.problem(0)).toBeNull();
  outage.note({ isFollowed: false, reason: "connection refused" }, 1_000);
  outage.note({ isFollowed: false, reason: "no leader" }, 30_000);
  expect(outage.problem(76_000)).toMatch(/out of reach for 1 min 15 s; .*: no leader$/);
  outage.note({ isFollowed: true }, 80_000);
  expect(outage.problem(80_000)).toBeNull();
});
