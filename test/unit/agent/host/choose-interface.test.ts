import { describe, expect, it } from "vitest";
import type { InterfaceSettings } from "../../../../agent/config/config.ts";
import { chooseInterface, type HostSnapshot } from "../../../../agent/host/choose-interface.ts";
import { Address, type Family, Prefix } from "../../../../ipam/addresses/ip.ts";

const at = (text: string) => Address.parse(text);
const PERMANENT = 0x80;
const none: InterfaceSettings = { interfaces: [], patterns: [], canReach: null, publicAddress: {} };

/** lo, eth0 (192.168.1.2, default route), eth1 (10.0.0.2, fd00::2), down0 (no address), flat0 (MTU 0). */
function host(changes: Partial<HostSnapshot> = {}): HostSnapshot {
  const link = (index: number, name: string, flags = 1, mtuBytes = 1500) => ({
    index,
    name,
    mac: null,
    mtuBytes,
    flags,
  });
  const on = (interfaceIndex: number, text: string, scope = 0, flags = PERMANENT) => ({
    interfaceIndex,
    address: at(text),
    length: at(text).family === 4 ? 24 : 64,
    scope,
    flags,
  });
  const eth1Net = Prefix.parse("10.0.0.0/8");
  return {
    links: [
      link(1, "lo", 9, 65_536),
      link(2, "eth0"),
      link(3, "eth1"),
      link(4, "down0"),
      link(5, "flat0", 1, 0),
    ],
    addresses: [
      on(1, "127.0.0.1", 254),
      on(2, "192.168.1.2"),
      on(3, "169.254.0.9", 253),
      on(3, "10.0.0.3", 0, 0),
      on(3, "10.0.0.2"),
      on(3, "fd00::9", 0, PERMANENT | 0x20),
      on(3, "fe80::1", 253),
      on(3, "fd00::2"),
      on(5, "172.16.0.1"),
    ],
    defaultRoutes: { 4: [2] },
    routeTo: (target) =>
      eth1Net.contains(target)
        ? { interfaceIndex: 3, source: at("10.0.0.3") }
        : { interfaceIndex: target.isLoopback ? 1 : 2, source: at("192.168.1.2") },
    ...changes,
  };
}

function choose(
  settings: Partial<InterfaceSettings>,
  snapshot = host(),
  store: Address | null = null,
  families: Family[] = [4],
) {
  const chosen = chooseInterface({ ...none, ...settings }, families, snapshot, store);
  const own = Object.values(chosen.addresses).join(" ");
  return { ...chosen, short: `${chosen.link.name} ${own}` };
}

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
      reason: expect.stringContaining("there is no default route"),
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
    expect(`${chosen.publicAddresses[4]}`).toBe("203.0.113.1");
  });

  it("needs an address in every family, and passes over deprecated ones", () => {
    expect(choose({ interfaces: ["eth0", "eth1"] }, host(), null, [4, 6]).short).toBe(
      "eth1 10.0.0.2 fd00::2",
    );
  });
});

describe("no interface", () => {
  it.each<[string, Partial<InterfaceSettings>, string]>([
    [
      "unknown",
      { interfaces: ["wlan0"] },
      "that -iface=wlan0 stands for; give -iface one of: eth0 192.168.1.2",
    ],
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
        "no usable interface with a default route; give -iface one of: ",
      );
  });

  it("names those that would do, and no others", () => {
    const { links, addresses } = host();
    const tunnel = { index: 9, name: "flannel.1", mac: null, mtuBytes: 1450, flags: 1 };
    const onTunnel = { interfaceIndex: 9, address: at("10.2.5.0"), length: 32, scope: 0, flags: PERMANENT };
    const snapshot = host({ links: [...links, tunnel], addresses: [...addresses, onTunnel] });
    expect(() => choose({ interfaces: ["wlan0"] }, snapshot)).toThrow(
      /give -iface one of: eth0 192\.168\.1\.2, eth1 10\.0\.0\.2$/,
    );
    expect(() => choose({ interfaces: ["wlan0"] }, host({ addresses: [] }))).toThrow(
      /; give an interface an address first, for none has one$/,
    );
  });
});
