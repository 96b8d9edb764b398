/** However hosts come and go: no two subnets overlap. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { join } from "../../../ipam/leases/join.ts";
import { formatLeaseKey } from "../../../ipam/leases/lease-codec.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { joinOptions, memoryStore, network } from "../../support/lease-fixture.ts";

const signal = AbortSignal.timeout(60_000);

/** A subnet of 10.2.0.0/22: sixteen places of four lengths that overlap often. */
const subnet = fc
  .tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 23, max: 26 }))
  .map(([place, length]) => Prefix.of(Address.of(4, 0x0a020000n + BigInt(place * 64)), length));

describe("leases", () => {
  it("never overlap, whatever stood there before and however many join at once", async () => {
    const strays = fc.array(subnet, { maxLength: 5 });
    const plan = fc.record({
      strays,
      hosts: fc.integer({ min: 1, max: 12 }),
      subnetLength: fc.integer({ min: 24, max: 27 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ strays: keys, hosts, subnetLength }) => {
        const clock = new FakeClock();
        const store = memoryStore(clock);
        for (const [index, one] of keys.entries()) {
          await store.leases.create(`stray${index}/${formatLeaseKey({ 4: one })}`, "x", 60, signal);
        }
        // Keys of /23 would not count in a network /22.
        const last = Address.of(4, 0x0a020400n - (1n << BigInt(32 - subnetLength)));
        const config = network(
          `{"Network":"10.2.0.0/21","SubnetLen":${subnetLength},"SubnetMax":"${last}","Backend":{"Type":"vxlan"}}`,
        );
        const listing = await store.feed.list(signal);
        const joins = Array.from({ length: hosts }, (_, n) =>
          join(joinOptions(store, clock, n + 1, { config }), listing, signal),
        );
        const results = await Promise.allSettled(joins);
        const given = results.flatMap((result) =>
          result.status === "fulfilled" ? [result.value.subnets[4]] : [],
        );
        const all = [...given, ...keys].flatMap((one) => one ?? []);
        for (const [index, one] of given.entries()) {
          const rivals = all.filter((other, place) => place !== index && one?.overlaps(other));
          expect(rivals).toEqual([]);
        }
        for (const result of results) {
          if (result.status === "rejected")
            expect(result.reason).toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
        }
        if (given.length < hosts) {
          const family = config.families[4];
          const size = 1n << BigInt(32 - subnetLength);
          for (
            let base = family?.subnetMin.value ?? 0n;
            base <= (family?.subnetMax.value ?? -1n);
            base += size
          ) {
            const place = Prefix.of(Address.of(4, base), subnetLength);
            expect(all.some((one) => one.overlaps(place))).toBe(true);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
