/** What is compared, what may be changed in place, and what is left alone. */

import { describe, expect, it } from "vitest";
import type { VxlanDetails } from "../../../../backends/state/devices/vxlan.ts";
import { compare } from "../../../../backends/state/diff.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import type { KernelObject } from "../../../../backends/state/kinds/registry.ts";
import type { RouteObject } from "../../../../backends/state/kinds/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";
import { OWN, peer, prepareVxlan, scopeOf } from "../../../support/vxlan-fixture.ts";

const backend = prepareVxlan();
const scope = scopeOf(backend);
const [link] = backend.planBase(OWN) as [LinkObject];
const vxlan = link.details as VxlanDetails;
const [neighbour, fdb, route] = backend.planPeer(peer(4), false) as [KernelObject, KernelObject, RouteObject];
const mac = parseMac("02:00:00:00:77:77");

const verdict = (
  desired: KernelObject | undefined,
  actual: KernelObject | undefined,
  isEstablished = false,
) => {
  const answer = compare(desired, actual, scope, isEstablished);
  return answer.type === "change" ? answer.change.op : answer.type;
};

describe("compare", () => {
  it.each([
    ["1", "replace"],
    ["2", "same"],
    ["0", "same"],
  ])("replaces a setting only over the value that it names: %s, %s", (present, expected) => {
    const setting = { kind: "sysctl", path: "net/ipv6/conf/eth0/accept_ra", device: "eth0" } as const;
    const wanted = { ...setting, value: "2", onlyOver: "1" };
    const own = { ...scope, sysctls: new Set([setting.path]) };
    const { type, ...rest } = compare(wanted, { ...setting, value: present }, own, false);
    expect("change" in rest ? rest.change.op : type).toBe(expected);
  });

  it.each([
    ["nothing wanted, nothing there", undefined, undefined, "same"],
    ["wanted and absent", route, undefined, "create"],
    ["the same", route, { ...route }, "same"],
    ["another gateway", route, { ...route, gateway: Address.parse("10.2.9.0") }, "replace"],
    ["no longer onlink", route, { ...route, isOnlink: false, protocol: 116 }, "replace"],
    ["through a nexthop object", route, { ...route, viaNexthop: true }, "replace"],
    ["with a source address", route, { ...route, source: Address.parse("10.2.1.0") }, "replace"],
    ["flanneld's own route", route, { ...route, protocol: 3 }, "replace"],
    ["another neighbour MAC", neighbour, { ...neighbour, mac }, "replace"],
    ["a neighbour that went stale", neighbour, { ...neighbour, isPermanent: false }, "replace"],
    ["another tunnel end", fdb, { ...fdb, remote: Address.parse("192.168.1.1") }, "replace"],
    ["another MTU", link, { ...link, mtuBytes: 1400 }, "replace"],
    ["another hardware address", link, { ...link, mac }, "replace"],
    ["down", link, { ...link, isUp: false }, "replace"],
    ["another local address", link, withTunnel({ local: Address.parse("192.168.50.9") }), "replace"],
    ["no local address", link, withTunnel({ local: null }), "replace"],
    ["another parent", link, withTunnel({ parent: "under9" }), "replace"],
    ["learning", link, withTunnel({ learning: true }), "replace"],
    ["another port", link, withTunnel({ port: 4789 }), "recreate"],
    ["GBP", link, withTunnel({ gbp: true }), "recreate"],
    ["the other family", link, withTunnel({ local: Address.parse("2001:db8::1") }), "recreate"],
    ["another VNI, there first", link, withTunnel({ vni: 7 }), "conflict"],
    [
      "another kind of device, there first",
      link,
      { ...link, type: "bridge", details: undefined },
      "conflict",
    ],
    ["somebody's route, there first", route, { ...route, device: "under0", protocol: 4 }, "conflict"],
    ["a leftover of ours", undefined, route, "delete"],
    ["a leftover of flanneld", undefined, { ...route, protocol: 3 }, "delete"],
    ["somebody's route", undefined, { ...route, protocol: 4 }, "same"],
    ["an administrator's boot route", undefined, { ...route, protocol: 3, isOnlink: false }, "same"],
    ["a passing neighbour", undefined, { ...neighbour, isPermanent: false }, "same"],
  ] as [string, KernelObject | undefined, KernelObject | undefined, string][])(
    "%s",
    (_what, desired, actual, expected) => {
      expect(verdict(desired, actual)).toBe(expected);
    },
  );

  it("takes back what displaced it", () => {
    expect(verdict(route, { ...route, device: "under0", protocol: 4 }, true)).toBe("replace");
    expect(verdict(link, withTunnel({ vni: 7 }), true)).toBe("recreate");
    expect(
      verdict(link, { ...link, type: "bridge", details: undefined } as unknown as LinkObject, true),
    ).toBe("recreate");
  });

  it("takes over flanneld's direct route where it is exactly the one to make", () => {
    const direct: RouteObject = {
      ...route,
      device: "under0",
      gateway: Address.parse("192.168.50.7"),
      isOnlink: false,
    };
    expect(verdict(direct, { ...direct, protocol: 3 })).toBe("replace");
    expect(verdict(direct, { ...direct, protocol: 3, gateway: Address.parse("192.168.50.8") })).toBe(
      "conflict",
    );
    expect(verdict(direct, { ...direct, protocol: 4 })).toBe("conflict");
  });

  it("never deletes direct routes outside the network, nor anybody's settings", () => {
    const direct: RouteObject = { ...route, device: "under0", destination: Prefix.parse("172.16.0.0/24") };
    expect(verdict(undefined, direct)).toBe("same");
    expect(
      verdict(undefined, { kind: "sysctl", path: "net/ipv4/ip_forward", device: null, value: "1" }),
    ).toBe("same");
  });

  it("names what is in the way and the remedy", () => {
    const answer = compare(link, withTunnel({ vni: 7 }), scope, false);
    expect(answer).toMatchObject({ type: "conflict", reason: expect.stringContaining("VNI 7") });
    expect(answer).toMatchObject({ reason: expect.stringContaining("delete or rename it") });
  });
});

function withTunnel(changes: Partial<VxlanDetails>): LinkObject {
  return { ...link, details: { ...vxlan, ...changes } };
}
