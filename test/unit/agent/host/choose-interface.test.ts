/** The choice of the interface, rule by rule. */

import { describe, expect, it } from "vitest";
import type { InterfaceSettings } from "../../../../agent/config/config.ts";
import type { HostAddress, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import {
  at,
  choose,
  host,
  hostWith,
  OWN_ADDRESSES,
  OWN_DEVICES,
  on,
  PERMANENT,
  via,
} from "../../../support/interface-host.ts";

describe("which interface", () => {
  it.each<[string, Partial<InterfaceSettings>, string, string]>([
    ["a name", { interfaces: ["eth1"] }, "eth1 10.0.0.2", "-iface=eth1 names it"],
    [
      "an address, which is then used",
      { interfaces: ["10.0.0.3"] },
      "eth1 10.0.0.3",
      "it has the address of",
    ],
    ["the first that exists", { interfaces: ["wlan0", "eth1", "eth0"] }, "eth1 10.0.0.2", "eth1"],
    ["the next when one has no address", { interfaces: ["down0", "eth1"] }, "eth1 10.0.0.2", "eth1"],
    ["a regex on addresses before names", { patterns: [/^192|eth1/] }, "eth0 192.168.1.2", "its address"],
    ["a regex on names", { patterns: [/^eth1$/] }, "eth1 10.0.0.2", "its name matches"],
    ["iface before regex", { interfaces: ["eth1"], patterns: [/eth0/] }, "eth1 10.0.0.2", "-iface=eth1"],
    ["regex when no iface fits", { interfaces: ["x"], patterns: [/eth0/] }, "eth0 192.168.1.2", "regex"],
    ["the route to an address", { canReach: at("10.9.9.9") }, "eth1 10.0.0.3", "-iface-can-reach=10.9.9.9"],
    ["the owner of public-ip", { publicAddress: { 4: at("10.0.0.2") } }, "eth1 10.0.0.2", "public address"],
    ["the default route", {}, "eth0 192.168.1.2", "the IPv4 default route leaves by it"],
  ])("%s", (_what, settings, short, reason) => {
    const chosen = choose(settings);
    expect(chosen.short).toBe(short);
    expect(chosen.reason).toContain(reason);
  });

  it("the route to the store only without a default route", () => {
    expect(choose({}, host(), at("10.0.0.99")).short).toBe("eth0 192.168.1.2");
    expect(choose({}, host({ defaultRoutes: {} }), at("10.0.0.99"))).toMatchObject({
      short: "eth1 10.0.0.3",
      reason: expect.stringContaining("there is no usable default route"),
      warnings: [],
    });
  });

  it("warns when the store is reached by another interface", () => {
    expect(choose({}, host(), at("10.0.0.99")).warnings).toEqual([
      expect.stringContaining("give -iface=eth1"),
    ]);
    expect(choose({}, host(), at("192.168.1.9")).warnings).toEqual([]);
    expect(choose({}, host(), at("127.0.0.1")).warnings).toEqual([]);
  });

  it("advertises public-ip without asking who has it", () => {
    const chosen = choose({ publicAddress: { 4: at("203.0.113.1") } });
    expect(chosen.short).toBe("eth0 192.168.1.2");
    expect(`${chosen.publicAddress}`).toBe("203.0.113.1");
  });

  it("needs an address in every family, and passes over deprecated ones", () => {
    expect(choose({ interfaces: ["eth0", "eth1"] }, host(), null, [4, 6]).short).toBe(
      "eth0 eth1 192.168.1.2 fd00::2",
    );
  });
});

describe("each family", () => {
  const TENTATIVE = 0x40;
  const DADFAILED = 0x08;
  const TEMPORARY = 0x01;
  const dual = (v6: readonly HostAddress[], changes: Partial<HostSnapshot> = {}) =>
    host({ addresses: [on(2, "192.168.1.2"), ...v6], ...changes });
  const both = (snapshot: HostSnapshot, settings: Partial<InterfaceSettings> = {}) =>
    choose(settings, snapshot, null, [4, 6]);

  it("goes by its own default route", () => {
    const snapshot = dual([on(2, "fd00::2"), on(3, "2001:db8::3")], {
      defaultRoutes: { 4: [via(2)], 6: [via(3)] },
    });
    expect(both(snapshot).short).toBe("eth0 eth1 192.168.1.2 2001:db8::3");
    expect(both(snapshot)[6]?.reason).toBe("the IPv6 default route leaves by it");
  });

  it("goes by the other family's interface when it has no default route", () => {
    const chosen = both(dual([on(2, "fd00::2"), on(3, "fd00::3")]));
    expect(chosen.short).toBe("eth0 192.168.1.2 fd00::2");
    expect(chosen[6]?.reason).toBe("the IPv4 tunnel leaves by it");
  });

  it("has its own public address", () => {
    const publicAddress = { 4: at("192.168.1.2"), 6: at("fd00::3") };
    const chosen = both(dual([on(2, "fd00::2"), on(3, "fd00::3")]), { publicAddress });
    expect(chosen.short).toBe("eth0 eth1 192.168.1.2 fd00::3");
  });

  it.each(["fd00:0:0::3", "FD00::0003"])("is named by any spelling of its address: %s", (text) => {
    const snapshot = dual([on(2, "fd00::2"), on(3, "fd00::3")]);
    expect(choose({ interfaces: [text] }, snapshot, null, [6]).short).toBe("eth1 fd00::3");
  });

  it("prefers addresses that last to temporary ones, and takes no tentative one", () => {
    const temporary = on(2, "2001:db8::7777", 0, TEMPORARY);
    const tentative = on(2, "2001:db8::1", 0, TENTATIVE | PERMANENT);
    expect(both(dual([temporary, tentative, on(2, "fd00::2")])).short).toBe("eth0 192.168.1.2 fd00::2");
    expect(both(dual([temporary, tentative])).short).toBe("eth0 192.168.1.2 2001:db8::7777");
  });

  it.each<[string, readonly HostAddress[], string]>([
    ["none", [], "eth0 has no IPv6 address"],
    ["link-local ones", [on(2, "fe80::1", 253)], "eth0 has only link-local IPv6 addresses: give it a global"],
    [
      "tentative ones",
      [on(2, "fe80::1", 253), on(2, "fd00::2", 0, TENTATIVE)],
      "eth0 has an IPv6 address that is still being checked for duplicates",
    ],
    [
      "one that another host has",
      [on(2, "fd00::2", 0, TENTATIVE | DADFAILED)],
      "eth0 has an IPv6 address that another host on the link has too",
    ],
  ])("is missed by name where the interface has %s", (_what, addresses, message) => {
    expect(() => both(dual(addresses))).toThrow(
      expect.objectContaining({ code: "TULLE_INTERFACE", message: expect.stringContaining(message) }),
    );
  });

  it("stays with its own interface while that is sound", () => {
    const before = dual([on(2, "fd00::2"), on(3, "fd00::3")], {
      defaultRoutes: { 4: [via(2)], 6: [via(3)] },
    });
    const present = both(before);
    const after = { ...before, defaultRoutes: { 4: [via(3)], 6: [via(2)] } };
    expect(choose({}, after, null, [4, 6], { present }).short).toBe("eth0 eth1 192.168.1.2 fd00::3");
  });
});

describe("no interface", () => {
  it.each<[string, Partial<InterfaceSettings>, string]>([
    ["unknown", { interfaces: ["wlan0"] }, "matches -iface=wlan0; give -iface one of: eth0 192.168.1.2"],
    ["without address", { interfaces: ["down0"] }, "down0 has no IPv4 address"],
    ["MTU 0", { interfaces: ["flat0"] }, "flat0 has an MTU of 0"],
    ["loopback by name", { interfaces: ["lo"] }, "lo is the loopback"],
    ["loopback by address", { interfaces: ["127.0.0.1"] }, "no usable interface"],
    ["loopback by route", { canReach: at("127.0.0.1") }, "lo is the loopback"],
  ])("%s", (_what, settings, message) => {
    expect(() => choose(settings)).toThrow(
      expect.objectContaining({ code: "TULLE_INTERFACE", message: expect.stringContaining(message) }),
    );
  });

  it("no default route and no store, or one on this host", () => {
    for (const store of [null, at("127.0.0.1")])
      expect(() => choose({}, host({ defaultRoutes: {} }), store)).toThrow(
        "no usable interface has an IPv4 default route; give -iface one of: ",
      );
  });

  it("names those that would do, and no others", () => {
    const snapshot = hostWith(OWN_DEVICES, OWN_ADDRESSES);
    expect(() => choose({ interfaces: ["wlan0"] }, snapshot)).toThrow(
      /give -iface one of: eth0 192\.168\.1\.2, eth1 10\.0\.0\.2$/,
    );
    expect(() => choose({ interfaces: ["wlan0"] }, host({ addresses: [] }))).toThrow(
      /no interface has a usable address: give one an address first$/,
    );
  });
});

it("waits for what may come, not for what is not there by name", () => {
  const retryable = (settings: Partial<InterfaceSettings>, snapshot = host()) => {
    try {
      return choose(settings, snapshot).short;
    } catch (error) {
      return (error as { retryable: boolean }).retryable;
    }
  };
  expect(retryable({ interfaces: ["wlan0"] })).toBe(false);
  expect(retryable({ interfaces: ["down0"] })).toBe(true);
  expect(retryable({}, host({ defaultRoutes: {} }))).toBe(true);
});
