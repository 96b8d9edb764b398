/** What a change of the host does to the backends: those that do not use what changed are kept, with what they run. */

import { expect, it } from "vitest";
import { Diversions } from "../../../../agent/fallback/diversions.ts";
import type { HostAddress, HostLink, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import {
  type Attachment,
  type AttachmentParts,
  attach,
  chooseFor,
  isSameAttachment,
  isSameLocally,
} from "../../../../agent/network/attachment.ts";
import { RTN_UNICAST } from "../../../../backends/netlink/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { network } from "../../../support/lease-fixture.ts";
import { OWN_MAC } from "../../../support/vxlan-fixture.ts";

const ETH0: HostLink = {
  index: 2,
  name: "eth0",
  type: "",
  mac: null,
  mtuBytes: 1500,
  flags: 1,
  masterIndex: null,
};
const on = (text: string): HostAddress => {
  const [address = "", length] = text.split("/");
  return { interfaceIndex: 2, address: Address.parse(address), length: Number(length), scope: 0, flags: 0 };
};
const host = (...addresses: string[]): HostSnapshot => ({
  links: [ETH0],
  addresses: addresses.map(on),
  routes: [],
  defaultRoutes: { 4: [{ interfaceIndex: 2, source: null }], 6: [{ interfaceIndex: 2, source: null }] },
  routeTo: () => null,
});
const config = (backend: object, more = {}) =>
  network(JSON.stringify({ Network: "10.2.0.0/16", Backend: backend, ...more }));

function parts(hasFallback: boolean): AttachmentParts {
  return {
    network: null,
    settings: { interfaces: [], patterns: [], canReach: null, publicAddress: {} },
    store: null,
    storeAddresses: [],
    port: { findLink: () => null },
    identity: { deviceMac: () => OWN_MAC, setDeviceMac: async () => undefined },
    ownership: { add: async () => undefined },
    provisions: { logger: silentLogger, network: null, once: (_: string, make: () => unknown) => make() },
    diversions: hasFallback ? new Diversions() : null,
  } as unknown as AttachmentParts;
}

async function attachTo(
  present: ReturnType<typeof config>,
  snapshot: HostSnapshot,
  before: Attachment | null = null,
  hasFallback = false,
) {
  const common = parts(hasFallback);
  const prior = { present: before?.chosen ?? null, subnets: [], leaseAddresses: [] };
  const chosen = chooseFor(common, present, snapshot, prior);
  return await attach(common, { present, formers: [], main: present }, chosen, snapshot, before);
}

const EXTENSION = { Type: "extension", SubnetAddCommand: "true" };
const DUAL = { EnableIPv6: true, IPv6Network: "fd00:2::/48" };

it.each([
  ["udp", { Type: "udp" }, "192.168.1.100/32"],
  ["udp", { Type: "udp" }, "10.9.9.9/24"],
  ["udp", { Type: "udp" }, "2001:db8::7777/64"],
  ["extension", EXTENSION, "192.168.1.100/24"],
  ["vxlan", { Type: "vxlan" }, "10.9.9.9/24"],
  ["vxlan with DirectRouting", { Type: "vxlan", DirectRouting: true }, "192.168.1.100/32"],
  ["vxlan with DirectRouting", { Type: "vxlan", DirectRouting: true }, "192.168.1.100/24"],
])("%s stays as it is when %j gets %s beside its address", async (_, backend, extra) => {
  const wanted = config(backend, DUAL);
  const own = ["192.168.1.2/24", "2001:db8::2/64"];
  const before = await attachTo(wanted, host(...own));
  for (const snapshot of [host(...own, extra), host(extra, ...own)]) {
    const after = await attachTo(wanted, snapshot, before);
    expect(isSameAttachment(before, after)).toBe(true);
    expect(after.backend.parts[0]).toBe(before.backend.parts[0]);
  }
});

it("a backend that routes on the interface follows its links, and the fall-back beside it goes on", async () => {
  const wanted = config({ Type: "vxlan", DirectRouting: true });
  const before = await attachTo(wanted, host("192.168.1.2/24"), null, true);
  const after = await attachTo(wanted, host("192.168.1.2/24", "10.9.9.9/24"), before, true);
  expect(isSameAttachment(before, after)).toBe(false);
  expect(after.backend.parts[0]).not.toBe(before.backend.parts[0]);
  expect(after.backend.fallback?.part).toBe(before.backend.fallback?.part);
});

it.each([{ Type: "udp" }, EXTENSION])(
  "%j goes on when the configuration changes beside it",
  async (backend) => {
    const before = await attachTo(config(backend), host("192.168.1.2/24"));
    const next = config(backend, { SubnetMin: "10.2.5.0" });
    const after = await attachTo(next, host("192.168.1.2/24"), before);
    expect(after.networkConfig).toBe(next);
    expect(after.backend.parts[0]).toBe(before.backend.parts[0]);
  },
);

it.each([
  ["its address", host("192.168.1.3/24")],
  ["its MTU", { ...host("192.168.1.2/24"), links: [{ ...ETH0, mtuBytes: 1400 }] }],
])("udp is prepared again when the interface changes %s", async (_, snapshot) => {
  const before = await attachTo(config({ Type: "udp" }), host("192.168.1.2/24"));
  const after = await attachTo(config({ Type: "udp" }), snapshot, before);
  expect(after.backend.parts[0]).not.toBe(before.backend.parts[0]);
});

it.each([
  ["vxlan", { Type: "vxlan" }],
  ["alloc, whose containers other programs reach", { Type: "alloc" }],
])("with %s, a bridge of containers that comes or gets another address is noticed", async (_, backend) => {
  const wanted = config(backend);
  const withBridge = (text: string): HostSnapshot => ({
    ...host("192.168.1.2/24"),
    links: [ETH0, { ...ETH0, index: 3, name: "cni0", type: "bridge" }],
    addresses: [on("192.168.1.2/24"), { ...on(text), interfaceIndex: 3 }],
  });
  const before = await attachTo(wanted, host("192.168.1.2/24"));
  const after = await attachTo(wanted, withBridge("10.2.5.1/24"), before);
  expect([isSameAttachment(before, after), isSameLocally(before, after)]).toEqual([true, false]);
  const moved = await attachTo(wanted, withBridge("10.2.6.1/24"), after);
  expect(isSameLocally(after, moved)).toBe(false);
  expect(isSameLocally(moved, await attachTo(wanted, withBridge("10.2.6.1/24"), moved))).toBe(true);
});

it("a default route by a bridge is noticed, because the bridge is not its containers' then", async () => {
  const wanted = config({ Type: "vxlan" });
  const bridged = (gateway: string | null): HostSnapshot => ({
    ...host("192.168.1.2/24"),
    links: [ETH0, { ...ETH0, index: 3, name: "br0", type: "bridge" }],
    addresses: [on("192.168.1.2/24"), { ...on("2001:db8::2/64"), interfaceIndex: 3 }],
    routes: ["::/0"].map((destination) => ({
      ...{ destination: Prefix.parse(destination), type: RTN_UNICAST, outputIndex: 3, protocol: 9 },
      gateway: gateway === null ? null : Address.parse(gateway),
    })),
  });
  const before = await attachTo(wanted, bridged(null));
  expect(isSameLocally(before, await attachTo(wanted, bridged("fe80::1"), before))).toBe(false);
});
