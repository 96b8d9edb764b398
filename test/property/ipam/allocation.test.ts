/** However hosts come and go: no two subnets overlap, and all hosts accept the same leases. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Address, entriesOf, Prefix } from "../../../ipam/addresses/ip.ts";
import { Admission, type AdmissionRules, type Demands } from "../../../ipam/leases/admission.ts";
import { join } from "../../../ipam/leases/join.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { decodeEntry, formatLeaseKey } from "../../../ipam/leases/lease-codec.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { entry, joinOptions, memoryStore, network, value } from "../../support/lease-fixture.ts";

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
        const config = network(
          `{"Network":"10.2.0.0/22","SubnetLen":${subnetLength},"Backend":{"Type":"vxlan"}}`,
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

describe("admission", () => {
  const rules = {
    problemOf: (lease: Lease) => (lease.attrs.backendType === "vxlan" ? null : "its backend is another"),
    demandsOf: (lease: Lease) => ({
      claims: entriesOf(lease.attrs.publicAddress).map(([, address]) => `${address}`),
      subnets: lease.subnets,
      addresses: entriesOf(lease.attrs.publicAddress).map(([, address]) => address),
    }),
  };
  const step = fc.record({
    isPut: fc.boolean(),
    subnet,
    host: fc.integer({ min: 1, max: 6 }),
    isBad: fc.integer({ min: 0, max: 9 }).map((die) => die === 0),
    age: fc.integer({ min: 1, max: 1000 }),
  });

  it("of one change after another is that of all at once, in any order", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const stepwise = new Admission(rules);
        const leases = new Map<string, Lease>();
        const mirror = new Map<string, Lease>();
        const ages = new Set<number>();
        for (const { isPut, subnet: one, host, isBad, age } of steps) {
          const key = formatLeaseKey({ 4: one });
          if (isPut && (!ages.has(age) || leases.get(key)?.createRevision === BigInt(age))) {
            ages.add(age);
            const text = value(host, isBad ? { backendType: "other" } : {});
            const createRevision = leases.get(key)?.createRevision ?? BigInt(age);
            const lease = decodeEntry(entry(key, host, { value: text, createRevision }));
            leases.set(key, lease);
            stepwise.put(lease);
          } else if (!isPut) {
            leases.delete(key);
            stepwise.delete(key);
          }
          for (const changed of stepwise.takeChanged()) {
            const lease = stepwise.accepted(changed);
            if (lease === undefined) mirror.delete(changed);
            else mirror.set(changed, lease);
          }
          expect(mirror).toEqual(byDefinition(leases.values(), rules));
        }
        const all = [...leases.values()];
        expect([...stepwise.rejectedKeys()].sort()).toEqual(
          all
            .map(({ key }) => key)
            .filter((key) => !mirror.has(key))
            .sort(),
        );
        for (const { key } of all) expect(stepwise.reasonOf(key) === null).toBe(mirror.has(key));
        stepwise.judgeAll();
        for (const { key } of all) expect(stepwise.accepted(key)).toBe(mirror.get(key));
      }),
      { numRuns: 300 },
    );
  });
});

/** The definition, without any index: by age, each one that contradicts no accepted lease. */
function byDefinition(leases: Iterable<Lease>, { problemOf, demandsOf }: AdmissionRules): Map<string, Lease> {
  const accepted: Lease[] = [];
  const byAge = [...leases].sort(
    (a, b) => Number(a.createRevision - b.createRevision) || (a.key < b.key ? -1 : 1),
  );
  for (const lease of byAge) {
    if (
      problemOf(lease) === null &&
      !accepted.some((other) => contradict(demandsOf(lease), demandsOf(other)))
    )
      accepted.push(lease);
  }
  return new Map(accepted.map((lease) => [lease.key, lease]));
}

function contradict(a: Demands, b: Demands): boolean {
  const covers = (one: Demands, other: Demands) =>
    entriesOf(one.subnets).some(([family, subnet]) => {
      const theirs = other.subnets[family];
      return (
        theirs?.overlaps(subnet) ||
        other.addresses.some((address) => address.family === family && subnet.contains(address))
      );
    });
  return covers(a, b) || covers(b, a) || a.claims.some((claim) => b.claims.includes(claim));
}
