/** What a running daemon does about changes of its interfaces. */

import { describe, expect, it } from "vitest";
import type { InterfaceSettings } from "../../../../agent/config/config.ts";
import type { ChosenInterfaces } from "../../../../agent/host/choose-interface.ts";
import type { HostAddress, HostLink, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import type { Address } from "../../../../ipam/addresses/ip.ts";
import {
  at,
  choose,
  host,
  hostWith,
  link,
  OWN_ADDRESSES,
  OWN_DEVICES,
  on,
  via,
} from "../../../support/interface-host.ts";

describe("a running daemon", () => {
  const present = choose({});
  const next = (
    settings: Partial<InterfaceSettings>,
    snapshot: HostSnapshot,
    more: { store?: Address; present?: ChosenInterfaces } = {},
  ) => choose(settings, snapshot, more.store ?? null, [4], { present: more.present ?? present }).short;
  const addresses = host().addresses;

  it("stays while its interface is sound, wherever the default route goes", () => {
    expect(next({}, host({ defaultRoutes: { 4: [via(3)] } }))).toBe("eth0 192.168.1.2");
    expect(next({}, host({ defaultRoutes: {} }))).toBe("eth0 192.168.1.2");
    expect(next({}, host({ defaultRoutes: {} }), { store: at("10.0.0.99") })).toBe("eth0 192.168.1.2");
    const viaTunnel = hostWith(OWN_DEVICES, OWN_ADDRESSES, { defaultRoutes: { 4: [via(9), via(3)] } });
    expect(next({}, viaTunnel)).toBe("eth0 192.168.1.2");
  });

  it("moves when a better rule than the one that chose finds an interface", () => {
    const poor = choose({}, host({ defaultRoutes: {} }), at("10.0.0.99"));
    expect(poor.short).toBe("eth1 10.0.0.3");
    expect(next({}, host(), { store: at("10.0.0.99"), present: poor })).toBe("eth0 192.168.1.2");

    const interfaces = ["ens9", "eth0"];
    const second = choose({ interfaces });
    const plugged = hostWith([link(30, "ens9")], [on(30, "192.0.2.9")]);
    expect(next({ interfaces }, plugged, { present: second })).toBe("ens9 192.0.2.9");

    const publicAddress = { 4: at("203.0.113.7") };
    const behindNat = choose({ publicAddress });
    expect(next({ publicAddress }, hostWith([], [on(3, "203.0.113.7")]), { present: behindNat })).toBe(
      "eth1 203.0.113.7",
    );
  });

  describe("returns from a substitute to the interface that had lost its address", () => {
    const two = { defaultRoutes: { 4: [via(2), via(3)] } };
    const without = addresses.filter(({ interfaceIndex }) => interfaceIndex !== 2);
    const lost = host({ addresses: without, defaultRoutes: { 4: [via(3)] } });

    it.each<[string, Partial<InterfaceSettings>]>([
      ["the default route", {}],
      ["one pattern for both", { patterns: [/^eth/] }],
    ])("by %s", (_, settings) => {
      const substitute = choose(settings, lost, null, [4], { present: choose(settings, host(two)) });
      expect(substitute).toMatchObject({ short: "eth1 10.0.0.2", insteadOf: "eth0" });
      const again = choose(settings, lost, null, [4], { present: substitute });
      expect(again).toMatchObject({ short: "eth1 10.0.0.2", insteadOf: "eth0" });
      const back = choose(settings, host(two), null, [4], { present: again });
      expect(back).toMatchObject({ short: "eth0 192.168.1.2", insteadOf: null });
    });

    it("also when it comes back as another card, or with another address", () => {
      const gone = { ...lost, links: host().links.filter(({ index }) => index !== 2) };
      const substitute = choose({}, gone, null, [4], { present: choose({}, host(two)) });
      const card = host({
        links: [...gone.links, link(40, "eth0")],
        addresses: [...without, on(40, "192.168.1.77")],
        defaultRoutes: { 4: [via(40), via(3)] },
      });
      expect(next({}, card, { present: substitute })).toBe("eth0 192.168.1.77");
    });

    it("unless it comes last now, or the address had moved", () => {
      const substitute = choose({}, lost, null, [4], { present: choose({}, host(two)) });
      const turned = host({ defaultRoutes: { 4: [via(3), via(2)] } });
      expect(next({}, turned, { present: substitute })).toBe("eth1 10.0.0.2");
      const moved = host({ addresses: [on(3, "192.168.1.2")], defaultRoutes: { 4: [via(3)] } });
      expect(choose({}, moved, null, [4], { present }).insteadOf).toBeNull();
    });
  });

  it("moves away from a device of ours that an earlier version chose", () => {
    const wrong = { 4: { ...present, link: link(9, "flannel.1"), address: at("10.2.7.0") } };
    expect(next({}, hostWith(OWN_DEVICES, OWN_ADDRESSES), { present: wrong })).toBe("eth0 192.168.1.2");
  });

  const moved = addresses.filter(({ interfaceIndex }) => interfaceIndex !== 2);
  it.each<[string, readonly HostLink[], number, readonly HostAddress[]]>([
    ["a bridge", [link(2, "eth0", { masterIndex: 20 }), link(20, "br0", { type: "bridge" })], 20, moved],
    [
      "a bond, with the address left on the port",
      [link(2, "eth0", { masterIndex: 20 }), link(20, "bond0", { type: "bond" })],
      20,
      addresses,
    ],
    ["a card with another name", [link(21, "ens7")], 21, moved],
  ])("follows its address to %s", (_, links, index, rest) => {
    const others = host().links.filter((one) => one.index !== 2);
    const snapshot = host({
      links: [...others, ...links],
      addresses: [...rest, on(index, "192.168.1.2")],
      defaultRoutes: { 4: [via(index)] },
    });
    const expected = `${links.at(-1)?.name} 192.168.1.2`;
    expect(next({}, snapshot)).toBe(expected);
    expect(next({ interfaces: ["192.168.1.2"] }, snapshot)).toBe(expected);
    expect(next({ patterns: [/^192\.168\./] }, snapshot)).toBe(expected);
  });

  it("follows -iface=ADDRESS to another interface although its own has other addresses", () => {
    const interfaces = ["192.168.1.2"];
    const snapshot = host({ addresses: [...moved, on(2, "192.0.2.2"), on(3, "192.168.1.2")] });
    expect(next({ interfaces }, snapshot)).toBe("eth1 192.168.1.2");
  });

  it("names only rules that were given when nothing is left", () => {
    const gone = host({ links: host().links.filter(({ index }) => index !== 2), defaultRoutes: {} });
    expect(() => next({}, gone)).toThrow(
      /^no usable interface has an IPv4 default route; give -iface one of: eth1/,
    );
    expect(() => next({ canReach: at("192.0.2.1") }, gone)).toThrow(
      /^no usable interface is on the route to -iface-can-reach=192\.0\.2\.1;/,
    );
    const anywhere = { interfaces: ["192.168.1.2"] };
    expect(() => next(anywhere, gone)).toThrow(/^no usable interface matches -iface=192\.168\.1\.2;/);
  });
});
