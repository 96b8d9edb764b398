/** The choice of the address on an interface. */

import { describe, expect, it } from "vitest";
import type { HostAddress, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import {
  at,
  choose,
  DEPRECATED,
  host,
  on,
  PERMANENT,
  SECONDARY,
  via,
} from "../../../support/interface-host.ts";

describe("which address", () => {
  const DHCP = on(2, "192.168.1.20", 0, 0);
  const vips = [
    on(2, "192.168.1.100/32"),
    on(2, "192.168.1.101", 0, PERMANENT | SECONDARY),
    on(2, "192.168.1.102", 0, PERMANENT | DEPRECATED),
    on(2, "10.9.9.9/24"),
  ];
  const withVips = (...first: HostAddress[]) => host({ addresses: [...first, ...vips] });

  it.each<[string, HostSnapshot]>([
    ["before the virtual addresses", withVips(DHCP)],
    ["after them", host({ addresses: [...vips, DHCP], defaultRoutes: { 4: [via(2, "192.168.1.20")] } })],
  ])("the DHCP address at a start, %s", (_, snapshot) => {
    expect(choose({}, snapshot).short).toBe("eth0 192.168.1.20");
    expect(choose({ interfaces: ["eth0"] }, snapshot).short).toBe("eth0 192.168.1.20");
  });

  it("the lease's own at a start, when the interface has it", () => {
    const second = on(2, "192.168.1.21", 0, SECONDARY);
    const withLease = (address: string) =>
      choose({}, withVips(DHCP, second), null, [4], { leaseAddresses: [at("203.0.113.5"), at(address)] })
        .short;
    expect(withLease("192.168.1.21")).toBe("eth0 192.168.1.21");
    expect(withLease("10.0.0.2")).toBe("eth0 192.168.1.20");
  });

  it.each(vips.map((vip) => [`${vip.address}/${vip.length}`, vip] as const))(
    "the present one when %s comes, and when it has become the only sound one",
    (_, vip) => {
      const present = choose({}, withVips(DHCP));
      for (const settings of [{}, { interfaces: ["eth0"] }, { patterns: [/192\.168/] }]) {
        const stays = host({ addresses: [vip, DHCP], defaultRoutes: { 4: [via(2, String(vip.address))] } });
        expect(choose(settings, stays, null, [4], { present }).short).toBe("eth0 192.168.1.20");
      }
      const expired = host({ addresses: [vip, { ...DHCP, flags: DEPRECATED }] });
      expect(choose({}, expired, null, [4], { present }).short).toBe("eth0 192.168.1.20");
    },
  );

  it("the new one after a DHCP renewal with another address", () => {
    const present = choose({}, host({ addresses: [DHCP] }));
    const renewed = host({ addresses: [on(2, "192.168.1.30", 0, 0), ...vips] });
    expect(choose({}, renewed, null, [4], { present }).short).toBe("eth0 192.168.1.30");
  });

  it("is told from a virtual one, which has no network", () => {
    const present = choose({}, withVips(DHCP));
    expect(present.hasNetwork).toBe(true);
    const released = host({ addresses: vips.slice(0, 1) });
    const left = choose({}, released, null, [4], { present });
    expect(left).toMatchObject({ short: "eth0 192.168.1.100", hasNetwork: false });
  });

  it("a link-local one last, whatever its scope", () => {
    const addresses = [on(2, "169.254.3.3/16"), DHCP];
    expect(choose({}, host({ addresses })).short).toBe("eth0 192.168.1.20");
    expect(choose({}, host({ addresses: addresses.slice(0, 1) })).short).toBe("eth0 169.254.3.3");
  });

  it("another one than a link-local address or a deprecated IPv6 address, as soon as there is one", () => {
    const before = host({ addresses: [on(2, "169.254.3.3/16", 253), on(2, "fd00::1")] });
    const present = choose({}, before, null, [4, 6]);
    expect(present.short).toBe("eth0 169.254.3.3 fd00::1");
    const after = host({
      addresses: [...before.addresses.slice(0, 1), DHCP, on(2, "fd00::1", 0, DEPRECATED), on(2, "fd00::5")],
    });
    expect(choose({}, after, null, [4, 6], { present }).short).toBe("eth0 192.168.1.20 fd00::5");
  });
});
