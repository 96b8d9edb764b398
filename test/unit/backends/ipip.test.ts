/** What IPIP wants from the kernel, and which networks, leases and options it rejects. */

import { describe, expect, it } from "vitest";
import type { HostFacts, PreparedBackend } from "../../../backends/backend.ts";
import { ipipBackend } from "../../../backends/ipip.ts";
import { backendFor, isRecordedDevice, isTunnelType, kernelNeedsOf } from "../../../backends/registry.ts";
import { compare } from "../../../backends/state/diff.ts";
import type { LinkObject } from "../../../backends/state/kinds/link.ts";
import { describe as describeObject, type KernelObject } from "../../../backends/state/kinds/registry.ts";
import type { RouteObject } from "../../../backends/state/kinds/route.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import type { JsonObject } from "../../../ipam/json.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { hostFacts, OWN, OWN_MAC, scopeOf, peer as vxlanPeer } from "../../support/vxlan-fixture.ts";

const prepare = (options: JsonObject = {}, host: HostFacts = hostFacts()): PreparedBackend =>
  ipipBackend.parseOptions(options).prepare(host, [4], { macFor: () => OWN_MAC });
const peer = (n: number, publicAddress?: string): Lease => {
  const lease = vxlanPeer(n, publicAddress === undefined ? {} : { publicAddress });
  return { ...lease, attrs: { ...lease.attrs, backendType: "ipip", backendData: {} } };
};
const lines = (objects: readonly KernelObject[]) => objects.map(describeObject);
const link = prepare().planBase(OWN)[0] as LinkObject;
const scope = scopeOf(prepare());

describe("ipip backend", () => {
  it("wants device, forwarding and address for this host", () => {
    expect(lines(prepare().planBase(OWN))).toEqual([
      "link flannel.ipip type ipip mtu 1480 up ipip local 192.168.50.1 remote any",
      "sysctl net/ipv4/conf/flannel.ipip/forwarding=1",
      "address 10.2.1.0/32 dev flannel.ipip",
    ]);
    expect(prepare()).toMatchObject({
      mtuBytes: 1480,
      leaseType: "ipip",
      leaseData: {},
      sharedDevices: [],
      tunnels: { 4: { protocol: "ipip", device: "flannel.ipip" } },
    });
  });

  it("wants one route for each peer, which names where tunnel packets go", () => {
    const route = "route 10.2.4.0/24 via 192.168.100.4 dev flannel.ipip proto 116 onlink";
    expect(lines(prepare().planPeer(peer(4), false))).toEqual([route]);
    expect(lines(prepare().planPeer(peer(4), true))).toEqual([
      `${route} (nexthop object)`,
      "nexthop via 192.168.100.4 dev flannel.ipip onlink proto 116",
    ]);
  });

  it("goes around the tunnel to neighbours only, and only if told to", () => {
    const near = peer(4, "192.168.50.4");
    const direct = prepare({ directrouting: true });
    expect(lines(direct.planPeer(near, true))).toEqual([
      "route 10.2.4.0/24 via 192.168.50.4 dev under0 proto 116",
    ]);
    expect(lines(direct.planPeer(peer(4), false))).toEqual(lines(prepare().planPeer(peer(4), false)));
    expect([direct.pathTo(near), direct.pathTo(peer(4)), prepare().pathTo(near)]).toEqual([
      "direct",
      "tunnel",
      "tunnel",
    ]);
    expect(direct).toMatchObject({
      sharedDevices: ["under0"],
      entrances: { 4: ["flannel.ipip", "under0"] },
    });
  });

  it("rejects leases of other backends and without an address", () => {
    expect(prepare().rejectPeer(peer(4))).toBeNull();
    expect(prepare().rejectPeer(vxlanPeer(4))).toMatch(/its backend is "vxlan"/);
    const bare = peer(4);
    expect(prepare().rejectPeer({ ...bare, attrs: { ...bare.attrs, publicAddress: {} } })).toMatch(
      /^it has no public IPv4 address to send packets to; /,
    );
  });

  it("names options that are wrong, and the interface that leaves too little room", () => {
    expect(() => ipipBackend.parseOptions({ DirectRouting: "yes" })).toThrow(
      /Backend\.DirectRouting is "yes"; write true or false/,
    );
    expect(() => prepare({}, hostFacts({ mtuBytes: 87 }))).toThrow(/MTU of under0 is 87: .* at least 88/);
    expect(prepare({}, hostFacts({ mtuBytes: 88 })).mtuBytes).toBe(68);
  });

  it.each([
    '{"EnableIPv6":true,"Network":"10.2.0.0/16","IPv6Network":"fd00:2::/56","Backend":{"Type":"ipip"}}',
    '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:2::/56","Backend":{"Type":"ipip"}}',
  ])("rejects IPv6 by name: %s", (text) => {
    expect(() => backendFor(parseNetworkConfig(text))).toThrow(
      /EnableIPv6 is true, but Backend.Type "ipip" carries IPv4 only; set it to false or choose another type/,
    );
  });

  it("changes the local address in place, and makes a device with a remote or other options again", () => {
    const op = (actual: LinkObject) => {
      const verdict = compare(link, actual, scope, false);
      return verdict.type === "change" ? verdict.change.op : verdict.type;
    };
    const withEnds = (local: string, remote: string | null): LinkObject => ({
      ...link,
      details: {
        type: "ipip",
        local: Address.parse(local),
        remote: remote === null ? null : Address.parse(remote),
      },
    });
    expect(op({ ...link })).toBe("same");
    expect(op(withEnds("192.168.50.9", null))).toBe("replace");
    expect(op(withEnds("192.168.50.1", "192.168.50.2"))).toBe("recreate");
    expect(op({ ...link, extras: ["encap"] })).toBe("recreate");
    expect(compare(link, { ...link, type: "gre", details: undefined } as never, scope, false)).toMatchObject({
      type: "conflict",
      reason: "a device of this name and of type gre exists; delete or rename it",
    });
  });

  it("takes over flanneld's routes and no others", () => {
    const [route] = prepare().planPeer(peer(4), false) as [RouteObject];
    const op = (actual: RouteObject) => compare(route, actual, scope, false).type;
    expect(op({ ...route, protocol: 3 })).toBe("change");
    expect(op({ ...route, protocol: 3, gateway: Address.parse("10.2.9.9") })).toBe("conflict");
    expect(op({ ...route, protocol: 4 })).toBe("conflict");
  });

  it("knows its device by the record of names, having no hardware address", () => {
    const record = { devices: new Set(["flannel.ipip"]), macs: new Set<never>() };
    expect(isRecordedDevice(link, record)).toBe(true);
    expect(isRecordedDevice(link, { ...record, devices: new Set() })).toBe(false);
    expect(isRecordedDevice({ ...link, name: "tunl0" }, record)).toBe(false);
    expect(isTunnelType("ipip")).toBe(true);
    const options = ipipBackend.parseOptions({});
    expect([options.canAdopt(link), options.lockNames({})]).toEqual([true, ["flannel.ipip"]]);
    expect(options.unsafeDifferences(ipipBackend.parseOptions({ DirectRouting: true }))).toEqual([]);
    const [expected] = options.expectations([4]);
    expect([expected?.mismatch(link), expected?.mismatch({ ...link, type: "" })]).toEqual([
      null,
      "of type physical",
    ]);
  });

  it("needs IPIP of the kernel, and has a remedy", () => {
    const [need] = kernelNeedsOf(parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"ipip"}}'));
    expect(need).toMatchObject({ subject: "ipip", remedy: expect.stringContaining("modprobe ipip") });
    expect(need !== undefined && "probe" in need && need.probe().length).toBeGreaterThan(0);
  });
});
