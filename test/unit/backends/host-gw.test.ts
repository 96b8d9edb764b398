import { expect, it } from "vitest";
import type { HostFacts, PreparedBackend } from "../../../backends/backend.ts";
import { backendFor } from "../../../backends/registry.ts";
import { describe as describeObject } from "../../../backends/state/kinds/registry.ts";
import { Address, type PerFamily, Prefix } from "../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { ADDRESSES, hostFacts, OWN_MAC } from "../../support/vxlan-fixture.ts";

const CONFIG = parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"Host-GW","Unknown":1}}');

function prepare(host: HostFacts = hostFacts({}, ADDRESSES)): PreparedBackend {
  const options = backendFor(CONFIG).parseOptions(CONFIG.backend.options);
  return options.prepare(host, [4, 6], { macFor: () => OWN_MAC });
}

function lease(publicAddress: PerFamily<Address>, backendType = "host-gw"): Lease {
  return {
    key: "10.2.3.0-24&fd00:2:0:3::-64",
    subnets: { 4: Prefix.parse("10.2.3.0/24"), 6: Prefix.parse("fd00:2:0:3::/64") },
    attrs: { publicAddress, backendType, backendData: {}, nodeId: null },
    revision: 1n,
    createRevision: 1n,
    storeLeaseId: "1",
    isLeaving: false,
  };
}

const ON_LINK = { 4: Address.parse("192.168.50.3"), 6: Address.parse("2001:db8:50::3") };

it("routes each family by the peer's address, with next hops where there are many peers", () => {
  const backend = prepare();
  expect(backend.planPeer(lease(ON_LINK), false).map(describeObject)).toEqual([
    "route 10.2.3.0/24 via 192.168.50.3 dev under0 proto 116",
    "route fd00:2:0:3::/64 via 2001:db8:50::3 dev under0 proto 116 metric 1024",
  ]);
  expect(backend.planPeer(lease(ON_LINK), true).map(describeObject)).toContain(
    "nexthop via 192.168.50.3 dev under0 proto 116",
  );
  expect(backend).toMatchObject({ mtuBytes: 1500, devices: {}, tunnels: {}, leaseData: {} });
  expect(backend.sharedDevices).toEqual(["under0"]);
  expect(backend.entrances).toEqual({ 4: ["under0"], 6: ["under0"] });
});

it.each(["host-gw", "alloc"])("a lease of %s is as flanneld writes it", (type) => {
  const config = parseNetworkConfig(`{"Network":"10.2.0.0/16","Backend":{"Type":"${type}"}}`);
  const backend = backendFor(config)
    .parseOptions({})
    .prepare(hostFacts(), [4], { macFor: () => OWN_MAC });
  expect(backend.leaseType).toBe(type === "alloc" ? "" : "host-gw");
  expect(backend.leaseData).toEqual({});
});

it("rejects, on this host alone, a peer that is not on the link", () => {
  const backend = prepare();
  expect(backend.rejectLocally(lease(ON_LINK))).toBeNull();
  expect(backend.rejectLocally(lease({ ...ON_LINK, 4: Address.parse("198.51.100.7") }))).toMatch(
    /^its public address 198.51.100.7 is not on the link of under0 \(192.168.50.0\/24\)/,
  );
  expect(backend.rejectLocally(lease({ ...ON_LINK, 6: Address.parse("2001:db8::7") }))).toMatch(
    /^its public address 2001:db8::7 is not on the link of under0 \(2001:db8:50::\/64\)/,
  );
  expect(backend.rejectPeer(lease(ON_LINK, "vxlan"))).toMatch(/^its backend is "vxlan"/);
});

it("refuses to start with a public address that is not the interface's", () => {
  const behindNat = hostFacts({ publicAddress: Address.parse("203.0.113.1") });
  expect(() => prepare(behindNat)).toThrow(
    /host-gw: the public address 203.0.113.1 is not the address 192.168.50.1 of under0, .*remove -public-ip/,
  );
});
