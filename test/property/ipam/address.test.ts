/** Addresses and prefixes against ip-cidr and against plain arithmetic. */

import { isIP } from "node:net";
import fc from "fast-check";
import IPCIDR from "ip-cidr";
import { describe, expect, it } from "vitest";
import { ADDRESS_BITS, Address, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import { macFromBytes, parseMac } from "../../../ipam/addresses/mac.ts";
import { OverlapIndex } from "../../../ipam/addresses/overlap-index.ts";

const family = fc.constantFrom<Family>(4, 6);
const address = family.chain((chosen) =>
  fc
    .bigInt({ min: 0n, max: (1n << BigInt(ADDRESS_BITS[chosen])) - 1n })
    .map((value) => Address.of(chosen, value)),
);
const prefix = address.chain((base) =>
  fc.integer({ min: 0, max: ADDRESS_BITS[base.family] }).map((length) => Prefix.of(base, length)),
);
/** Few bits differ, so that pairs overlap often. */
const nearPrefix = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 20, max: 32 }))
  .map(([bits, length]) => Prefix.of(Address.of(4, 0x0a020000n + BigInt(bits << 4)), length));

describe("an address", () => {
  it("reads back from its text and its bytes", () => {
    fc.assert(
      fc.property(address, (one) => {
        expect(Address.parse(one.toString()).equals(one)).toBe(true);
        expect(Address.fromBytes(one.toBytes()).equals(one)).toBe(true);
        expect(isIP(one.toString())).toBe(one.family);
      }),
    );
  });

  it("is written as the URL parser writes it (RFC 5952)", () => {
    fc.assert(
      fc.property(address, (one) => {
        if (one.family === 4 || one.value >> 32n === 0xffffn || one.value >> 32n === 0n) return;
        expect(new URL(`http://[${one}]`).hostname).toBe(`[${one}]`);
      }),
    );
  });

  it("of dots and numbers is what Node takes for one", () => {
    const part = fc.oneof(
      fc.integer({ min: 0, max: 300 }).map(String),
      fc.constantFrom("", "00", "01", "255", "256", "+1", " 1", "1e1"),
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 3, maxLength: 5 }), (parts) => {
        const text = parts.join(".");
        if (isIP(text) === 4) expect(Address.parse(text).toString()).toBe(text);
        else expect(() => Address.parse(text)).toThrow();
      }),
      { numRuns: 2000 },
    );
  });

  it("of colons and groups is what Node takes for one", () => {
    const part = fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 0, max: 0x11000 }).map((group) => group.toString(16)) },
      {
        weight: 3,
        arbitrary: fc.constantFrom("", "00a", "FFFF", "g", "1.2.3.4", "1.2.3", "%eth0", " 1", "+1"),
      },
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 2, maxLength: 10 }), (parts) => {
        const text = parts.join(":");
        if (isIP(text) === 6 && !text.includes("%")) expect(Address.parse(text).family).toBe(6);
        else expect(() => Address.parse(text)).toThrow();
      }),
      { numRuns: 20_000 },
    );
  });

  it("is nothing else than what Node takes for one", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."0123456789abf.:%/ ") }), (text) => {
        const isAddress = isIP(text) !== 0 && !text.includes("%");
        if (isAddress) expect(Address.parse(text).family).toBe(isIP(text));
        else expect(() => Address.parse(text)).toThrow(expect.objectContaining({ code: "TULLE_ADDRESS" }));
      }),
    );
  });
});

describe("a prefix", () => {
  it("has the bounds and the members that ip-cidr says", () => {
    fc.assert(
      fc.property(prefix, address, (one, other) => {
        const oracle = new IPCIDR(one.toString());
        expect(Address.parse(oracle.start()).equals(one.base)).toBe(true);
        expect(Address.parse(oracle.end()).equals(one.last)).toBe(true);
        if (other.family === one.family) expect(one.contains(other)).toBe(oracle.contains(other.toString()));
        else expect(one.contains(other)).toBe(false);
      }),
    );
  });

  it("contains its own and nothing beside", () => {
    fc.assert(
      fc.property(prefix, (one) => {
        expect(one.contains(one.base) && one.contains(one.last) && one.contains(one)).toBe(true);
        expect(one.size).toBe(one.last.value - one.base.value + 1n);
        expect(Prefix.parse(one.toString()).equals(one)).toBe(true);
      }),
    );
  });

  it("overlaps another exactly when they share an address", () => {
    fc.assert(
      fc.property(nearPrefix, nearPrefix, (a, b) => {
        const shares = a.base.value <= b.last.value && b.base.value <= a.last.value;
        expect(a.overlaps(b)).toBe(shares);
        expect(b.overlaps(a)).toBe(shares);
      }),
    );
  });
});

describe("the overlap index", () => {
  it("finds what looking at all would find", () => {
    const step = fc.record({ add: fc.boolean(), prefix: nearPrefix });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), nearPrefix, (steps, asked) => {
        const index = new OverlapIndex<string>();
        const all = new Map<string, Prefix>();
        for (const { add, prefix: one } of steps) {
          if (add) index.set(one, one.toString());
          else index.delete(one);
          if (add) all.set(one.toString(), one);
          else all.delete(one.toString());
        }
        const found = index.find(asked);
        const overlapping = [...all.values()].filter((one) => one.overlaps(asked)).map(String);
        if (found === undefined) expect(overlapping).toEqual([]);
        else expect(overlapping).toContain(found);
      }),
    );
  });
});

describe("a MAC", () => {
  it("reads back from its bytes and its text", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        const mac = macFromBytes(bytes);
        expect([...Buffer.from(mac.replaceAll(":", ""), "hex")]).toEqual([...bytes]);
        expect(parseMac(mac.toUpperCase().replaceAll(":", "-"))).toBe(mac);
      }),
    );
  });
});
