import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Arena } from "../../../../backends/datapath/arena.ts";
import { type PathPeer, PeerIndex } from "../../../../backends/datapath/peer-index.ts";
import { Address, type Family, Prefix } from "../../../../ipam/addresses/ip.ts";

const arena = new Arena(1000);
const at = arena.reserve(16);

function put(text: string): [number, Family] {
  const address = Address.parse(text);
  arena.bytes.set(address.toBytes(), at);
  return [at, address.family];
}

function peer(address: string, ...subnets: readonly string[]): PathPeer {
  const prefixes = subnets.map((text) => Prefix.parse(text));
  return {
    subnets: Object.fromEntries(prefixes.map((prefix) => [prefix.family, prefix])),
    address: Address.parse(address),
    port: 8285,
    isFast: true,
  };
}

describe("the index of peers", () => {
  it("finds the owner of an inner address and the sender of a datagram, in both families", () => {
    const index = new PeerIndex(arena);
    index.set("a", peer("192.0.2.1", "10.2.1.0/24"));
    index.set("b", peer("2001:db8::1", "fd00:2:0:1::/64"));
    expect(index.ownerOf(...put("10.2.1.77"))?.address.toString()).toBe("192.0.2.1");
    expect(index.ownerOf(...put("fd00:2:0:1:2:3:4:5"))?.address.toString()).toBe("2001:db8::1");
    expect(index.ownerOf(...put("10.2.2.77"))).toBeNull();
    expect(index.senderAt(...put("192.0.2.1"))).toBe(index.ownerOf(...put("10.2.1.1")));
    expect(index.senderAt(...put("192.0.2.2"))).toBeNull();
  });

  it("prefers the longest subnet", () => {
    const index = new PeerIndex(arena);
    index.set("wide", peer("192.0.2.1", "10.2.0.0/20"));
    index.set("narrow", peer("192.0.2.2", "10.2.1.0/24"));
    expect(index.ownerOf(...put("10.2.1.1"))?.address.toString()).toBe("192.0.2.2");
    expect(index.ownerOf(...put("10.2.2.1"))?.address.toString()).toBe("192.0.2.1");
  });

  it("forgets what was replaced or deleted, also just after a lookup", () => {
    const index = new PeerIndex(arena);
    index.set("a", peer("192.0.2.1", "10.2.1.0/24"));
    expect(index.ownerOf(...put("10.2.1.1"))).not.toBeNull();
    index.set("a", peer("192.0.2.1", "10.2.9.0/24"));
    expect(index.ownerOf(...put("10.2.1.1"))).toBeNull();
    index.delete("a");
    expect(index.ownerOf(...put("10.2.9.1"))).toBeNull();
    expect(index.senderAt(...put("192.0.2.1"))).toBeNull();
  });

  it("knows this host's subnets", () => {
    const index = new PeerIndex(arena);
    index.setOwn({ 4: Prefix.parse("10.2.5.0/24"), 6: Prefix.parse("fd00:2:0:5::/64") });
    expect(index.isOwn(...put("10.2.5.255"))).toBe(true);
    expect(index.isOwn(...put("fd00:2:0:5::9"))).toBe(true);
    expect(index.isOwn(...put("10.2.6.0"))).toBe(false);
    expect(index.ownBase(4)).toEqual(Address.parse("10.2.5.0").toBytes());
  });

  it("agrees with a search through all subnets", () => {
    const octet = fc.nat(7);
    fc.assert(
      fc.property(fc.uniqueArray(octet, { maxLength: 8 }), octet, octet, (thirds, third, last) => {
        const index = new PeerIndex(arena);
        for (const one of thirds) index.set(`${one}`, peer(`192.0.2.${one}`, `10.2.${one}.0/24`));
        const found = index.ownerOf(...put(`10.2.${third}.${last}`));
        expect(found?.address.toString() ?? null).toBe(thirds.includes(third) ? `192.0.2.${third}` : null);
      }),
    );
  });
});
