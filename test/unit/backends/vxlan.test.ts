/** What VXLAN wants from the kernel, what it publishes, and which leases and options it refuses. */

import { describe, expect, it } from "vitest";
import { isOverlayDevice, isRecordedDevice, kernelNeedsOf } from "../../../backends/registry.ts";
import type { LinkObject } from "../../../backends/state/kinds/link.ts";
import { describe as describeObject } from "../../../backends/state/kinds/registry.ts";
import { vxlanBackend } from "../../../backends/vxlan.ts";
import { Prefix } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import type { JsonObject } from "../../../ipam/json.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { ADDRESSES, hostFacts, OWN, OWN_MAC, peer, prepareVxlan } from "../../support/vxlan-fixture.ts";

const lines = (lease: Lease, options: JsonObject = {}, useNexthops = false) =>
  prepareVxlan(options).planPeer(lease, useNexthops).map(describeObject);

describe("vxlan backend", () => {
  it("wants device, settings and address for this host", () => {
    expect(prepareVxlan().planBase(OWN).map(describeObject)).toEqual([
      `link flannel.1 type vxlan mtu 1450 up address ${OWN_MAC} vxlan id 1 local 192.168.50.1 dev under0 dstport 8472 nolearning`,
      "sysctl net/ipv4/conf/flannel.1/forwarding=1",
      "sysctl net/ipv6/conf/flannel.1/accept_ra=0",
      "address 10.2.1.0/32 dev flannel.1",
    ]);
  });

  it("takes VNI, port, MTU, learning and GBP from its options", () => {
    const backend = prepareVxlan({ VNI: 42, Port: 4789, MTU: 1400, Learning: true, GBP: true });
    expect(describeObject(backend.planBase(OWN)[0] as LinkObject)).toBe(
      `link flannel.42 type vxlan mtu 1350 up address ${OWN_MAC} vxlan id 42 local 192.168.50.1 dev under0 dstport 4789 learning gbp`,
    );
    expect(backend).toMatchObject({
      mtuBytes: 1350,
      tunnels: { 4: { port: 4789, device: "flannel.42" } },
      leaseData: { 4: { VNI: 42, VtepMAC: OWN_MAC } },
    });
  });

  it("publishes as much of a large VNI as flanneld can read", () => {
    const backend = prepareVxlan({ VNI: 70_000 });
    expect(backend.devices).toEqual({ 4: "flannel.70000" });
    expect(backend.leaseData).toEqual({ 4: { VNI: 70_000 - 65_536, VtepMAC: OWN_MAC } });
  });

  it("wants neighbour, forwarding entry and route for each peer", () => {
    expect(lines(peer(4))).toEqual([
      "neigh 10.2.4.0 lladdr 02:00:00:01:00:04 dev flannel.1 permanent",
      "fdb 02:00:00:01:00:04 dev flannel.1 dst 192.168.100.4 permanent",
      "route 10.2.4.0/24 via 10.2.4.0 dev flannel.1 proto 116 onlink",
    ]);
    expect(lines(peer(4), {}, true).slice(2)).toEqual([
      "route 10.2.4.0/24 via 10.2.4.0 dev flannel.1 proto 116 onlink (nexthop object)",
      "nexthop via 10.2.4.0 dev flannel.1 onlink proto 116",
    ]);
  });

  it("goes around the tunnel to neighbours only, and only if told to", () => {
    const near = peer(4, { publicAddress: "192.168.50.4" });
    expect(lines(near, { DirectRouting: true })).toContain(
      "route 10.2.4.0/24 via 192.168.50.4 dev under0 proto 116",
    );
    expect(lines(peer(4), { DirectRouting: true })).toEqual(lines(peer(4)));
    expect(lines(near)).toContain("route 10.2.4.0/24 via 10.2.4.0 dev flannel.1 proto 116 onlink");
    expect(prepareVxlan({ DirectRouting: true }).pathTo(near)).toBe("direct");
    expect(prepareVxlan().pathTo(near)).toBe("tunnel");
  });

  it.each([
    ["another backend", { backendType: "host-gw" }, /backend is "host-gw"/],
    ["no MAC", { backendData: { 4: { VNI: 1 } } }, /holds no valid VtepMAC/],
    ["no data", { backendData: {} }, /BackendData null/],
    ["a MAC that is none", { backendData: { 4: { VtepMAC: "nonsense" } } }, /no valid VtepMAC/],
    ["a group MAC", { backendData: { 4: { VtepMAC: "01:00:5e:00:00:01" } } }, /group address/],
    ["an all-zero MAC", { backendData: { 4: { VNI: 1, VtepMAC: "00:00:00:00:00:00" } } }, /all zero/],
    [
      "another VNI",
      { backendData: { 4: { VNI: 3, VtepMAC: "02:00:00:00:00:05" } } },
      /VNI 3 differs from the network's VNI 1/,
    ],
    [
      "a VNI that is text",
      { backendData: { 4: { VNI: "1", VtepMAC: "02:00:00:00:00:05" } } },
      /VNI "1" is not a number/,
    ],
    ["no public address", { publicAddress: {} }, /no public IPv4 address/],
  ])("refuses a lease with %s", (_what, attrs, reason) => {
    const lease = peer(4);
    expect(prepareVxlan().rejectPeer({ ...lease, attrs: { ...lease.attrs, ...attrs } })).toMatch(reason);
    expect(prepareVxlan().rejectPeer(lease)).toBeNull();
  });

  it.each([
    { vni: 1, vtepMac: "02:00:00:00:00:05" },
    { VNI: 1, VtepMAC: "0200.0000.0005" },
    { VNI: null, VtepMAC: "02-00-00-00-00-05" },
  ])("reads backend data as flanneld does: %o", (data) => {
    const lease = peer(5);
    const written = { ...lease, attrs: { ...lease.attrs, backendData: { 4: data } } };
    expect(prepareVxlan().rejectPeer(written)).toBeNull();
    expect(prepareVxlan().peerIdentities(written)).toEqual(["02:00:00:00:00:05"]);
  });

  it("says which option leaves too little room for packets", () => {
    expect(() => prepareVxlan({ MTU: 100 })).toThrow(/Backend.MTU is 100: .* at least 118/);
    expect(() => prepareVxlan({}, hostFacts({ mtuBytes: 90 }))).toThrow(/MTU of under0 is 90/);
    expect(() => vxlanBackend.parseOptions({ VNI: 10_000_000 })).toThrow(/VNI.*9999999/);
    expect(vxlanBackend.parseOptions({ VNI: 9_999_999 }).deviceNames([4])[4]).toHaveLength(15);
  });

  it("has a device of each family, with the smaller room of IPv6", () => {
    const options = vxlanBackend.parseOptions({});
    const backend = options.prepare(hostFacts({}, ADDRESSES), [4, 6], { macFor: () => OWN_MAC });
    expect(backend.devices).toEqual({ 4: "flannel.1", 6: "flannel-v6.1" });
    expect(backend.mtuBytes).toBe(1430);
    const planned = backend.planBase({ ...OWN, 6: Prefix.parse("fd00:2:1::/64") }).map(describeObject);
    expect(planned).toContain("address fd00:2:1::/128 dev flannel-v6.1");
    expect(planned).toContain("sysctl net/ipv6/conf/flannel-v6.1/forwarding=1");
  });

  it("keeps an existing device only when its tunnel is the same", () => {
    const options = vxlanBackend.parseOptions({});
    const link = prepareVxlan().planBase(OWN)[0] as LinkObject;
    expect(options.canAdopt(link)).toBe(true);
    expect(options.canAdopt(prepareVxlan({ Port: 4789 }).planBase(OWN)[0] as LinkObject)).toBe(false);
    expect(
      options.unsafeDifferences(vxlanBackend.parseOptions({ VNI: 2, Port: 1, GBP: true, Learning: true })),
    ).toEqual(["VNI", "Port", "GBP", "Learning"]);
    expect(options.unsafeDifferences(vxlanBackend.parseOptions({ MTU: 1300, DirectRouting: true }))).toEqual(
      [],
    );
  });

  it("recognises devices of an earlier VNI by this host's hardware address", () => {
    const old = prepareVxlan({ VNI: 7 }).planBase(OWN)[0] as LinkObject;
    const record = { devices: new Set<string>(), macs: new Set([OWN_MAC]) };
    const links: LinkObject[] = [
      old,
      prepareVxlan().planBase(OWN)[0] as LinkObject,
      { ...old, name: "flannel.8" },
      { ...old, name: "vxlan7" },
      { ...old, mac: parseMac("02:00:00:00:00:99") },
      { kind: "link", name: "flannel.7", type: "bridge", mac: OWN_MAC, mtuBytes: 1500, isUp: true },
    ];
    const recorded = (macs: typeof record.macs) =>
      links.filter((link) => isRecordedDevice(link, { ...record, macs })).map(({ name }) => name);
    expect(recorded(record.macs)).toEqual(["flannel.7", "flannel.1"]);
    expect(recorded(new Set())).toEqual([]);
  });

  it("names what it shares and locks", () => {
    expect(prepareVxlan().sharedDevices).toEqual([]);
    expect(prepareVxlan({ DirectRouting: true })).toMatchObject({
      sharedDevices: ["under0"],
      entrances: { 4: ["flannel.1", "under0"] },
    });
    const networks = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00::/56") };
    const locks = vxlanBackend.parseOptions({ VNI: 3 }).lockNames(networks);
    expect(locks).toEqual(["flannel.3", "flannel-v6.3"]);
  });

  it.each([
    ...["flannel.1", "flannel.9999999", "flannel-v6.1", "flannel0", "flannel.ipip", "flannel-wg"].map(
      (name) => [name, true] as const,
    ),
    ...["flannel", "flannel.x", "flannel.1.5", "xflannel.1", "cni0", "eth0.1", "flannel-v6"].map(
      (name) => [name, false] as const,
    ),
    ["flannel-wg-v6", true] as const,
  ])("the name %s belongs to an overlay: %s", (name, expected) => {
    expect(isOverlayDevice(name)).toBe(expected);
  });

  it("needs VXLAN of the kernel, and has a remedy", () => {
    const [need] = kernelNeedsOf(parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}'));
    expect(need).toMatchObject({ subject: "vxlan", remedy: expect.stringContaining("modprobe vxlan") });
    expect(need).toMatchObject({ probe: expect.any(Function) });
  });
});
