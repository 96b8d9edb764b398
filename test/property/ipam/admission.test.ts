/** The verdicts on leases that contradict each other are those of the definition, whatever the order of the changes. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Address, entriesOf, Prefix } from "../../../ipam/addresses/ip.ts";
import { Admission, type Demands } from "../../../ipam/leases/admission.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { decodeEntry, formatLeaseKey } from "../../../ipam/leases/lease-codec.ts";
import { entry, value } from "../../support/lease-fixture.ts";

/** A subnet of 10.2.0.0/22: sixteen places of four lengths that overlap often. */
const subnet = fc
  .tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 23, max: 26 }))
  .map(([place, length]) => Prefix.of(Address.of(4, 0x0a020000n + BigInt(place * 64)), length));

const NETWORK = Prefix.parse("10.2.0.0/22");

const rules = {
  problemOf: (lease: Lease) => (lease.attrs.backendType === "vxlan" ? null : "its backend is another"),
  demandsOf: (lease: Lease): Demands => {
    const addresses = entriesOf(lease.attrs.publicAddress).map(([, address]) => address);
    const mac = JSON.stringify(lease.attrs.backendData);
    const texts = addresses.map(String);
    const [claims, yieldsTo] = lease.attrs.nodeId === null ? [texts, [mac]] : [[...texts, mac], []];
    const inside = addresses.filter((one) => NETWORK.contains(one));
    return { subnets: lease.subnets, claims, yieldsTo, addresses: inside };
  },
};

/** The definition: by age, what no rule rejects and what contradicts no accepted lease. */
function acceptedByDefinition(leases: Iterable<Lease>): Lease[] {
  const accepted: Lease[] = [];
  const byAge = [...leases].sort(
    (a, b) => Number(a.createRevision - b.createRevision) || (a.key < b.key ? -1 : 1),
  );
  for (const lease of byAge)
    if (rules.problemOf(lease) === null && !accepted.some((older) => contradict(lease, older)))
      accepted.push(lease);
  return accepted;
}

function contradict(younger: Lease, older: Lease): boolean {
  const [left, right] = [rules.demandsOf(younger), rules.demandsOf(older)];
  const holds = (one: Demands, other: Demands): boolean =>
    other.addresses.some((address) => one.subnets[4]?.contains(address));
  return (
    [...left.claims, ...left.yieldsTo].some((claim) => right.claims.includes(claim)) ||
    holds(left, right) ||
    holds(right, left) ||
    (left.subnets[4]?.overlaps(right.subnets[4] ?? NETWORK) ?? false)
  );
}

const step = fc.record({
  type: fc.constantFrom("put", "put", "put", "delete", "judge"),
  subnet,
  /** Few of them, so that several leases have one address or one hardware address. */
  address: fc.oneof(
    fc.integer({ min: 1, max: 5 }).map((host) => `192.168.0.${host}`),
    fc.integer({ min: 0, max: 1023 }).map((offset) => NETWORK.base.plus(offset).toString()),
  ),
  mac: fc.integer({ min: 1, max: 8 }),
  isFlannel: fc.boolean(),
  isBad: fc.integer({ min: 0, max: 9 }).map((die) => die === 0),
  age: fc.integer({ min: 1, max: 30 }),
});

describe("admission", () => {
  it("accepts what the definition accepts, and reports each change", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const admission = new Admission(rules);
        const leases = new Map<string, Lease>();
        const mirror = new Map<string, Lease>();
        for (const { type, subnet: one, address, mac, isFlannel, isBad, age } of steps) {
          const key = formatLeaseKey({ 4: one });
          if (type === "put") {
            const text = value(mac, {
              ip: address,
              ...(isFlannel ? { nodeId: null } : {}),
              ...(isBad ? { backendType: "other" } : {}),
            });
            const lease = decodeEntry(entry(key, mac, { value: text, createRevision: BigInt(age) }));
            leases.set(key, lease);
            admission.put(lease);
          } else if (type === "delete") {
            leases.delete(key);
            admission.delete(key);
          } else admission.judgeAll();
          for (const changed of admission.takeChanged()) {
            const lease = admission.accepted(changed);
            if (lease === undefined) mirror.delete(changed);
            else mirror.set(changed, lease);
          }
          const expected = new Map(acceptedByDefinition(leases.values()).map((lease) => [lease.key, lease]));
          expect(mirror).toEqual(expected);
          for (const rejected of leases.keys()) {
            expect(admission.isRejected(rejected)).toBe(!expected.has(rejected));
            expect(admission.reasonOf(rejected) === null).toBe(expected.has(rejected));
          }
        }
      }),
      { numRuns: 400 },
    );
  });
});
