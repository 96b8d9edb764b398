import { describe, expect, it } from "vitest";
import type { HostLink, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import { isLocalSource, localSources } from "../../../../agent/names/local-sources.ts";
import { RTN_UNICAST } from "../../../../backends/netlink/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

const link = (index: number, name: string, type: string, masterIndex: number | null = null): HostLink => ({
  index,
  name,
  type,
  masterIndex,
  mac: null,
  mtuBytes: 1500,
  flags: 1,
});

const host: HostSnapshot = {
  links: [
    link(1, "lo", ""),
    link(2, "eth0", ""),
    link(3, "docker_gwbridge", "bridge"),
    link(4, "veth1", "veth", 3),
    link(5, "br-lan", "bridge"),
    link(6, "eth1", "", 5),
    link(7, "br-out", "bridge"),
    link(8, "flannel.1", "vxlan"),
  ],
  addresses: [
    [1, "127.0.0.1/8"],
    [2, "192.0.2.1/24"],
    [3, "172.18.0.1/16"],
    [3, "fd00::1/64"],
    [5, "198.51.100.1/24"],
    [7, "203.0.113.1/24"],
    [8, "10.2.0.0/32"],
  ].map(([interfaceIndex, text]) => {
    const [address = "", length] = String(text).split("/");
    return {
      interfaceIndex: Number(interfaceIndex),
      address: Address.parse(address),
      length: Number(length),
      scope: 0,
      flags: 0,
    };
  }),
  routes: [
    {
      destination: Prefix.parse("0.0.0.0/0"),
      type: RTN_UNICAST,
      outputIndex: 7,
      gateway: Address.parse("203.0.113.254"),
      protocol: 3,
    },
  ],
  defaultRoutes: {},
  routeTo: () => null,
};

describe("where queries of containers come from", () => {
  const sources = localSources(host);
  const isLocal = (text: string) => isLocalSource(sources, Address.parse(text));

  it("are bridges that do not lead out, and the loopback interface", () => {
    expect(sources.interfaces).toEqual([1, 3]);
  });

  it("are addresses on these bridges, and the host's own", () => {
    for (const text of ["172.18.0.2", "172.18.255.3", "fd00::7", "127.0.0.1", "192.0.2.1", "169.254.53.53"])
      expect(isLocal(text), text).toBe(true);
    for (const text of ["192.0.2.2", "198.51.100.2", "203.0.113.2", "172.19.0.2", "fd01::1", "169.254.1.1"])
      expect(isLocal(text), text).toBe(false);
  });
});
