import { describe, expect, it } from "vitest";
import { isOverlayDevice, isRecordedDevice } from "../../../backends/registry.ts";
import { describe as describeObject } from "../../../backends/state/kinds/registry.ts";
import { udpBackend } from "../../../backends/udp.ts";
import { type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import type { JsonObject } from "../../../ipam/json.ts";
import { udpLease } from "../../support/udp-lease.ts";
import { ADDRESSES, hostFacts } from "../../support/vxlan-fixture.ts";

function prepare(families: readonly Family[] = [4], options: JsonObject = {}, mtuBytes = 1500) {
  const addresses = Object.fromEntries(families.map((family) => [family, ADDRESSES[family]]));
  const identity = { macFor: () => expect.fail("a TUN device has no hardware address") };
  return udpBackend.parseOptions(options).prepare(hostFacts({ mtuBytes }, addresses), families, identity);
}

describe("the udp backend", () => {
  it("plans flannel's device, address and route, whatever the peers", () => {
    const backend = prepare();
    const lines = backend.planBase(udpLease(1).subnets).map(describeObject);
    expect(lines).toEqual([
      "link flannel0 type tun mtu 1472 up mode tun",
      expect.stringContaining("net/ipv4/conf/flannel0/forwarding"),
      expect.stringContaining("net/ipv4/conf/flannel0/accept_local"),
      expect.stringContaining("net/ipv6/conf/flannel0/accept_ra"),
      expect.stringContaining("10.2.1.0/32"),
      "route 10.2.0.0/16 dev flannel0 proto 116",
    ]);
    expect(backend.planPeer(udpLease(2), false)).toEqual([]);
  });

  it("routes to a peer outside the network's range, as while the network moves", () => {
    const elsewhere = {
      ...udpLease(2),
      subnets: { 4: Prefix.parse("10.9.2.0/24"), 6: Prefix.parse("fd00:9::/64") },
    };
    expect(prepare().planPeer(elsewhere, false).map(describeObject)).toEqual([
      "route 10.9.2.0/24 dev flannel0 proto 116",
    ]);
  });

  it("publishes a lease without type and data, as flannel does", () => {
    expect(prepare()).toMatchObject({ leaseType: "", leaseData: {}, mtuBytes: 1472 });
  });

  it("carries both families on one device, with an MTU for the larger header", () => {
    const backend = prepare([4, 6]);
    const lines = backend.planBase(udpLease(1, { families: [4, 6] }).subnets).map(describeObject);
    expect(lines.filter((line) => line.startsWith("link"))).toEqual([
      "link flannel0 type tun mtu 1452 up mode tun",
    ]);
    expect(lines.filter((line) => line.startsWith("route"))).toEqual([
      "route 10.2.0.0/16 dev flannel0 proto 116",
      "route fd00:2::/48 dev flannel0 proto 116 metric 1024",
    ]);
    expect(backend.tunnels).toEqual({
      4: { device: "flannel0", port: 8285, isChecked: true },
      6: { device: "flannel0", port: 8285, isChecked: true },
    });
  });

  it.each([0, -1, 65_536, 1.5, "8285", true])("rejects the port %j", (port) => {
    expect(() => udpBackend.parseOptions({ Port: port })).toThrow(`Backend.Port is ${JSON.stringify(port)}`);
  });

  it("reads the port in any case, and names it as unsafe to change", () => {
    const options = udpBackend.parseOptions({ port: 9000 });
    expect(options.unsafeDifferences(udpBackend.parseOptions({}))).toEqual(["Port"]);
    expect(options.unsafeDifferences(udpBackend.parseOptions({ Port: 9000 }))).toEqual([]);
  });

  it("rejects an MTU that leaves too little", () => {
    expect(() => prepare([4, 6], {}, 1300)).toThrow("set it to at least 1328");
    expect(prepare([4], {}, 1300).mtuBytes).toBe(1272);
  });

  it("rejects peers of another type and peers without an address", () => {
    const lease = udpLease(2, { families: [4, 6] });
    const backend = prepare([4, 6]);
    expect(backend.rejectPeer(lease)).toBeNull();
    const vxlan = { ...lease, attrs: { ...lease.attrs, backendType: "vxlan" } };
    expect(backend.rejectPeer(vxlan)).toContain('its backend is "vxlan"');
    const bare = { ...lease, attrs: { ...lease.attrs, publicAddress: {} } };
    expect(backend.rejectPeer(bare)).toMatch(/^it has no public IPv4 address to send packets to; /);
  });

  it("uses the IPv4 part of a lease of flanneld's, which names no IPv6 address", () => {
    const lease = udpLease(2, { families: [4, 6] });
    const without6 = { ...lease, attrs: { ...lease.attrs, publicAddress: { 4: ADDRESSES[4] } } };
    expect(prepare([4, 6]).rejectPeer(without6)).toBeNull();
    expect(prepare([6]).rejectPeer(without6)).toMatch(/^it has no public IPv6 address/);
  });

  it("owns the device of its name that it recorded", () => {
    const link = {
      kind: "link",
      name: "flannel0",
      type: "tun",
      mac: null,
      mtuBytes: 1472,
      isUp: true,
      details: { type: "tun", mode: "tun" },
    } as const;
    expect(isOverlayDevice("flannel0")).toBe(true);
    const record = { devices: new Set(["flannel0"]), macs: new Set<never>() };
    expect(isRecordedDevice(link, record)).toBe(true);
    expect(isRecordedDevice(link, { ...record, devices: new Set() })).toBe(false);
    expect(isRecordedDevice({ ...link, type: "dummy" }, record)).toBe(false);
  });
});
