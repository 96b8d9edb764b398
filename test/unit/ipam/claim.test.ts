/** docs/adr/0002-identity.md as a table. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { claimOn, describeTakeover, isCopiedIdentity, takeoverBy } from "../../../ipam/leases/claim.ts";
import { attrs, nodeId } from "../../support/lease-fixture.ts";

const MAC_A = parseMac("02:00:00:00:00:0a");
const MAC_B = parseMac("02:00:00:00:00:0b");
const IP_A = "192.168.0.10";
const IP_B = "192.168.0.11";
const us = attrs(1, { ip: IP_A });

describe("an identity found on disk", () => {
  const lease = (id: number, ip: string) => attrs(id, { ip });
  it.each([
    ["first start", null, MAC_A, [], false],
    ["same hardware, no lease", MAC_A, MAC_A, [], false],
    ["same hardware, our lease", MAC_A, MAC_A, [lease(1, IP_A)], false],
    ["same hardware, another address (DHCP)", MAC_A, MAC_A, [lease(1, IP_B)], false],
    ["another card, the same address", MAC_B, MAC_A, [lease(1, IP_A)], false],
    ["neither, the lease alive: a copied disk", MAC_B, MAC_A, [lease(1, IP_B)], true],
    ["neither, no lease: a copied image", MAC_B, MAC_A, [], true],
    ["another card, our address under another id", MAC_B, MAC_A, [lease(2, IP_A)], true],
  ])("%s", (_, recordedMac, hostMac, leases, isCopied) => {
    const found = {
      nodeId: nodeId(1),
      recordedMac,
      hostMacs: new Set([hostMac]),
      publicAddress: { 4: Address.parse(IP_A) },
    };
    expect(isCopiedIdentity(found, leases)).toBe(isCopied);
  });

  it("is this host's when any of its interfaces is the recorded one", () => {
    const found = {
      nodeId: nodeId(1),
      recordedMac: MAC_A,
      hostMacs: new Set([MAC_B, MAC_A]),
      publicAddress: { 4: Address.parse(IP_A) },
    };
    expect(isCopiedIdentity(found, [attrs(1, { ip: IP_B })])).toBe(false);
  });
});

describe("a lease found at the start", () => {
  it.each([
    ["our id, our address", attrs(1, { ip: IP_A }), "ours"],
    ["our id, another address", attrs(1, { ip: IP_B }), "ours"],
    ["no id, our address", attrs(1, { ip: IP_A, nodeId: null }), "adoptable"],
    ["another id, our address", attrs(2, { ip: IP_A }), "adoptable"],
    ["no id, another address", attrs(1, { ip: IP_B, nodeId: null }), "foreign"],
    ["another id, another address", attrs(2, { ip: IP_B }), "foreign"],
    ["no address at all", attrs(2, { publicAddress: {} }), "foreign"],
  ])("%s", (_, lease, claim) => {
    expect(claimOn(lease, us)).toBe(claim);
  });

  it("matches no host without id and address", () => {
    const nobody = { nodeId: null, publicAddress: {} };
    expect(claimOn(nobody, nobody)).toBe("foreign");
  });

  it("goes by IPv6 where there is no IPv4", () => {
    const publicAddress = { 6: Address.parse("2001:db8::1") };
    expect(claimOn({ nodeId: null, publicAddress }, { nodeId: nodeId(1), publicAddress })).toBe("adoptable");
  });
});

describe("a key that another took from a running host", () => {
  it.each([
    ["our id, our address", attrs(1, { ip: IP_A, backendData: {} }), null],
    ["our id, another address", attrs(1, { ip: IP_B }), "copied identity"],
    ["another id, our address", attrs(2, { ip: IP_A }), "same address"],
    ["no id, our address", attrs(1, { ip: IP_A, nodeId: null }), "same address"],
    ["another id, another address", attrs(2, { ip: IP_B }), "other host"],
    ["no id, another address", attrs(1, { ip: IP_B, nodeId: null }), "other host"],
  ])("%s", (_, holder, takeover) => {
    expect(takeoverBy(holder, us)).toBe(takeover);
  });

  it("names both hosts", () => {
    const text = describeTakeover("same address", attrs(2, { ip: IP_A }), us);
    for (const part of [nodeId(1), nodeId(2), IP_A]) expect(text).toContain(part);
  });
});
