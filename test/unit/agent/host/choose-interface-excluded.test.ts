/** Devices that are never chosen, and bridges that are. */

import { describe, expect, it } from "vitest";
import type { InterfaceSettings } from "../../../../agent/config/config.ts";
import { RTN_UNICAST } from "../../../../backends/netlink/route.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";
import {
  at,
  choose,
  hostWith,
  link,
  OWN_ADDRESSES,
  OWN_DEVICES,
  on,
  plan,
  via,
} from "../../../support/interface-host.ts";

describe("a device of ours is never a candidate", () => {
  const snapshot = hostWith(OWN_DEVICES, OWN_ADDRESSES, {
    defaultRoutes: { 4: [9, 10, 12, 13].map((index) => via(index, "10.2.7.0")) },
    routeTo: (target) => (target.toString().startsWith("192.168.1.") ? via(2) : via(9, "10.2.7.0")),
  });

  it.each<[string, Partial<InterfaceSettings>]>([
    ["-iface names it", { interfaces: ["flannel.1", "docker0", "cni0", "veth1", "veth2"] }],
    ["-iface has its address", { interfaces: ["10.2.7.0", "10.2.7.1", "10.2.9.1", "169.254.7.7"] }],
    ["-iface-regex matches its address", { patterns: [/^10\.2\./] }],
    ["-iface-regex matches its name", { patterns: [/^(flannel|docker|cni|veth)/] }],
    ["-iface-can-reach goes through it", { canReach: at("203.0.113.1") }],
    ["it has the public address", { publicAddress: { 4: at("10.2.7.1") } }],
    ["default routes leave by it", {}],
  ])("although %s", (_what, settings) => {
    expect(() => choose(settings, snapshot, at("203.0.113.9"))).toThrow(
      expect.objectContaining({ code: "TULLE_INTERFACE", retryable: true }),
    );
  });

  it("and the next one is taken", () => {
    const dhcpcd = hostWith(OWN_DEVICES, OWN_ADDRESSES, {
      defaultRoutes: { 4: [via(9, "10.2.7.0"), via(2)] },
    });
    expect(choose({}, dhcpcd).short).toBe("eth0 192.168.1.2");
    expect(choose({ patterns: [/^10\./] }, dhcpcd).short).toBe("eth1 10.0.0.2");
    expect(choose({}, snapshot, at("192.168.1.9")).short).toBe("eth0 192.168.1.2");
  });

  it("while a bridge, a bond and a VRF with an address of the LAN are candidates", () => {
    const uplinks = hostWith(
      [
        link(20, "br0", { type: "bridge" }),
        link(21, "ens1", { masterIndex: 20 }),
        link(22, "vrf1", { type: "vrf" }),
        link(23, "ens2", { masterIndex: 22 }),
      ],
      [on(20, "192.0.2.2"), on(21, "192.0.2.3"), on(23, "198.51.100.2")],
    );
    expect(choose({ interfaces: ["ens1", "br0"] }, uplinks).short).toBe("br0 192.0.2.2");
    expect(choose({ interfaces: ["ens2"] }, uplinks).short).toBe("ens2 198.51.100.2");
    expect(() => choose({ interfaces: ["ens1"] }, uplinks)).toThrow("(ens1 is a port of br0)");
  });
});

describe("a bridge that leads out of this host", () => {
  /** The LAN is what this host's subnet was before. */
  const lan = [link(20, "br0", { type: "bridge" }), link(21, "ens1", { masterIndex: 20 })];
  const route = { type: RTN_UNICAST, outputIndex: 20, protocol: 3 };
  const byDefault = { ...route, destination: Prefix.parse("0.0.0.0/0"), gateway: at("10.2.9.254") };

  it.each(["10.2.9.1", "10.2.7.1"])("carries the tunnel by the default route, with %s", (address) => {
    const snapshot = hostWith(lan, [on(20, address)], {
      routes: [byDefault],
      defaultRoutes: { 4: [via(20)] },
    });
    expect(choose({}, snapshot).short).toBe(`br0 ${address}`);
    expect(choose({ interfaces: ["br0"] }, snapshot).short).toBe(`br0 ${address}`);
  });

  it("carries the tunnel by the route to the store", () => {
    const store = at("10.2.9.5");
    const containers = { plan, subnets: [], stores: [store] };
    const snapshot = hostWith(lan, [on(20, "10.2.9.1")], { defaultRoutes: {}, routeTo: () => via(20) });
    expect(choose({}, snapshot, store, [4], { containers }).short).toBe("br0 10.2.9.1");
    const behindVeth = hostWith(
      [link(20, "cni0", { type: "bridge" }), link(21, "veth1", { type: "veth", masterIndex: 20 })],
      [on(20, "10.2.9.1")],
      { defaultRoutes: {}, routeTo: () => via(20) },
    );
    expect(() => choose({}, behindVeth, store, [4], { containers })).toThrow("of this host's own containers");
  });
});
