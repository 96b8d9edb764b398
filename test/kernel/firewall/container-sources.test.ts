/** Source addresses of containers with NET_RAW, with packets of both families: only those of this host's subnet pass. */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import { FAMILIES } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { addAddress, sendDatagram } from "./datagrams.ts";
import { INPUT } from "./fixture.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const PORT = 4000;

const ADDRESSES = {
  4: {
    length: 24,
    host: "192.168.50.9",
    peer: "192.168.50.2",
    gateway: "10.2.54.1",
    own: "10.2.54.5",
    foreign: ["10.2.99.5", "192.168.50.7", "203.0.113.9", "127.0.0.9"],
    bridged: { gateway: "172.20.0.1", own: "172.20.0.5" },
  },
  6: {
    length: 64,
    host: "fd00:50::9",
    peer: "fd00:50::2",
    gateway: "fd00:2:0:54::1",
    own: "fd00:2:0:54::5",
    foreign: ["fd00:2:0:99::5", "fd00:50::7", "2001:db8::9"],
    bridged: { gateway: "fd00:20::1", own: "fd00:20::5" },
  },
} as const;

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`strict container sources and the ${choice} engine`, () => {
    let host: TestNetns;
    let peer: TestNetns;
    let container: TestNetns;
    let other: TestNetns;
    let guarded: Guarded;
    let guard: FirewallGuard;

    beforeEach(() => {
      [host, peer, container, other] = [
        createNetns("cshost"),
        createNetns("cspeer"),
        createNetns("cscont"),
        createNetns("csother"),
      ];
      for (const { exec } of [host, peer])
        exec("sysctl", ["-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"]);
      host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
      host.ip(
        `link add eth0 up type veth peer name eth0 netns ${peer.name}`,
        "link add cni0 up type bridge",
        `link add port0 up master cni0 type veth peer name eth0 netns ${container.name}`,
        "link add br-other up type bridge",
        `link add port1 up master br-other type veth peer name eth0 netns ${other.name}`,
      );
      for (const netns of [peer, container, other]) netns.ip("link set eth0 up");
      for (const family of FAMILIES) {
        const { length, host: ours, peer: theirs, gateway, own, bridged } = ADDRESSES[family];
        addAddress(host, "eth0", `${ours}/${length}`);
        addAddress(peer, "eth0", `${theirs}/${length}`);
        addAddress(host, "cni0", `${gateway}/${length}`);
        addAddress(container, "eth0", `${own}/${length}`);
        addAddress(host, "br-other", `${bridged.gateway}/${length}`);
        addAddress(other, "eth0", `${bridged.own}/${length}`);
        peer.exec("ip", [`-${family}`, "route", "add", "default", "via", ours]);
        container.exec("ip", [`-${family}`, "route", "add", "default", "via", gateway]);
        other.exec("ip", [`-${family}`, "route", "add", "default", "via", bridged.gateway]);
      }
      for (const netns of [host, peer])
        netns.exec("nft", [
          `add table inet count; add chain inet count in { type filter hook input priority 10; };
          add rule inet count in udp dport ${PORT} counter`,
        ]);
      guarded = guardOf(host, choice);
      guard = guarded.guard;
    });
    afterEach(async () => {
      await guarded.dispose();
      for (const netns of [host, peer, container, other]) netns.dispose();
    });

    const protect = (strictBridges: readonly string[]): Promise<void> =>
      guard.update(
        null,
        planFirewall({ ...INPUT, masquerade: { ...INPUT.masquerade, isEnabled: false }, strictBridges }),
      );
    const isAccepted = (from: TestNetns, source: string, by: TestNetns, target: string): boolean => {
      const before = received(by);
      sendDatagram(from, source, target, PORT);
      return received(by) > before;
    };

    it.each(FAMILIES)("pass when they are the container's, and no others, over IPv%i", async (family) => {
      const { own, foreign, peer: far, host: near, bridged } = ADDRESSES[family];
      const fromForeign = (by: TestNetns, target: string): boolean[] =>
        foreign.map((source) => isAccepted(container, source, by, target));
      // Neighbours are known, and a container's route to the peer works.
      for (const target of [near, far]) container.exec("ping", ["-c", "1", "-w", "5", target]);
      other.exec("ping", ["-c", "1", "-w", "5", far]);
      await protect([]);
      expect(fromForeign(peer, far)).toContain(true);
      await protect(["cni0"]);
      expect(fromForeign(peer, far)).toEqual(foreign.map(() => false));
      expect(fromForeign(host, near)).toEqual(foreign.map(() => false));
      expect(isAccepted(container, own, peer, far)).toBe(true);
      expect(isAccepted(container, own, host, near)).toBe(true);
      // A bridge of another network is not restricted.
      expect(isAccepted(other, foreign[0], peer, far)).toBe(true);
      expect(isAccepted(other, bridged.own, peer, far)).toBe(true);
    });

    it.each(FAMILIES)("do not keep neighbours from being found, over IPv%i", async (family) => {
      await protect(["cni0"]);
      container.exec("ip", ["neighbour", "flush", "dev", "eth0"]);
      host.exec("ip", ["neighbour", "flush", "dev", "cni0"]);
      container.exec("ping", ["-c", "1", "-w", "5", ADDRESSES[family].gateway]);
    });
  });
}

function received(netns: TestNetns): number {
  return Number(/packets (\d+)/.exec(netns.exec("nft", ["list", "table", "inet", "count"]))?.[1]);
}
