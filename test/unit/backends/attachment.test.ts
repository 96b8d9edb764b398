/** The pure parts of attaching containers. */

import { expect, it } from "vitest";
import { competingWith, excludedBy, without } from "../../../backends/attachment/addresses.ts";
import { portName } from "../../../backends/attachment/port-name.ts";
import type { KernelAddress } from "../../../backends/netlink/address.ts";
import { Prefix, parseInterfaceAddress } from "../../../ipam/addresses/ip.ts";

const OWN = 3;
const on = (interfaceIndex: number, text: string): KernelAddress => ({
  ...parseInterfaceAddress(text),
  interfaceIndex,
  scope: 0,
  flags: 0,
  peer: null,
  broadcast: null,
  label: "",
});
const gateway = parseInterfaceAddress("10.5.72.1/24");
const gateway6 = parseInterfaceAddress("fd00:5:0:72::1/64");

it.each([
  ["the same subnet", "10.5.72.1/24", true],
  ["another address of the subnet", "10.5.72.254/24", true],
  ["a part of the subnet", "10.5.72.129/25", true],
  ["the gateway's own address", "10.5.72.1/32", true],
  ["the tunnel device's address", "10.5.72.0/32", false],
  ["a wider subnet", "10.5.0.1/16", false],
  ["a neighbouring subnet", "10.5.73.1/24", false],
  ["another family", "fd00:5:0:72::1/64", false],
])("%s on another device competes with the bridge's: %s, %s", (_, text, competes) => {
  expect(competingWith([on(7, text)], OWN, gateway)).toHaveLength(competes ? 1 : 0);
  expect(competingWith([on(OWN, text)], OWN, gateway)).toEqual([]);
});

it.each([
  ["fd00:5:0:72::1/64", true],
  ["fd00:5:0:72:8000::1/65", true],
  ["fd00:5:0:72::/128", false],
  ["fd00:5::1/48", false],
])("%s on another device competes: %s", (text, competes) => {
  expect(competingWith([on(7, text)], null, gateway6)).toHaveLength(competes ? 1 : 0);
});

it("has one IPv4 address for a gateway, and beside an IPv6 address those outside its subnet and the overlay", () => {
  const present = [
    ...["10.5.72.1/24", "10.9.1.1/24", "fd00:5:0:72::9/64", "2001:db8::1/64"],
    ...["fd00:5:0:99::1/64", "fd00:5::1/48"],
  ].map((text) => on(OWN, text));
  const overlay = [Prefix.parse("10.5.0.0/16"), Prefix.parse("fd00:5::/48")];
  expect(without(present, [on(OWN, "10.9.1.1/24"), on(OWN, "10.9.1.1/16")])).toHaveLength(5);
  const texts = (entries: readonly KernelAddress[]) =>
    entries.map(({ address, length }) => `${address}/${length}`);
  expect(texts(excludedBy(present, gateway, overlay))).toEqual(["10.5.72.1/24", "10.9.1.1/24"]);
  const overlapping = ["fd00:5:0:72::9/64", "fd00:5::1/48"];
  expect(texts(excludedBy(present, gateway6, []))).toEqual(overlapping);
  expect(texts(excludedBy(present, gateway6, overlay)).sort()).toEqual(
    [...overlapping, "fd00:5:0:99::1/64"].sort(),
  );
});

it("names a port after network, container and interface", () => {
  const names = ["a", "b"].flatMap((network) =>
    ["eth0", "eth1"].map((interfaceName) => portName(network, { containerId: "c", interfaceName })),
  );
  expect(new Set(names).size).toBe(4);
  expect(names.every((name) => /^veth[0-9a-f]{11}$/.test(name))).toBe(true);
});
