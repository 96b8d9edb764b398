/**
 * Tunnel packets that a container forges, with packets of both families: whatever it is attached to and whatever source
 * it writes, none reaches this host's tunnel; what other hosts and hosts behind this one send does.
 */

import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import { DEFAULT_CONTAINER_INTERFACES } from "../../../backends/firewall/plan-input.ts";
import { Address, FAMILIES, Prefix } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { addAddress, sendDatagram } from "./datagrams.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const PORT = 8472;
const NETWORK = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") };
const SUBNET = { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") };

/** One of each family, with the length of its link's prefix. */
const ADDRESSES = {
  4: {
    host: "192.168.50.1",
    peer: "192.168.50.2",
    length: 24,
    gateway: "10.2.54.1",
    container: "10.2.54.5",
    /** Of a link beside the tunnel's own: this host's end and a member of the network behind it. */
    second: "172.20.0.1",
    member: "172.20.0.5",
    elsewhere: "198.51.100.7",
  },
  6: {
    host: "fd00:50::1",
    peer: "fd00:50::2",
    length: 64,
    gateway: "fd00:2:0:54::1",
    container: "fd00:2:0:54::5",
    second: "fd00:20::1",
    member: "fd00:20::5",
    elsewhere: "2001:db8::7",
  },
} as const;

/** How containers are attached: the name of the interface at the host, and whether it is a bridge. */
const ATTACHMENTS: readonly (readonly [string, boolean])[] = [
  ["docker0", true],
  ["mybridge", true],
  ["veth1a2b3c", false],
  ["mylink", false],
];

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`forged tunnel packets and the ${choice} engine`, () => {
    let host: TestNetns;
    let peer: TestNetns;
    let container: TestNetns;
    let guarded: Guarded;
    let guard: FirewallGuard;

    beforeEach(() => {
      [host, peer, container] = [createNetns("fohost"), createNetns("fopeer"), createNetns("focont")];
      for (const { exec } of [host, peer, container])
        exec("sysctl", ["-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"]);
      host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
      attach(peer, "eth0", false);
      for (const family of FAMILIES) {
        const { host: ours, peer: theirs, length } = ADDRESSES[family];
        addAddress(host, "eth0", `${ours}/${length}`);
        addAddress(peer, "eth0", `${theirs}/${length}`);
        host.exec("ip", [`-${family}`, "route", "add", "default", "via", theirs]);
        peer.exec("ip", ["route", "add", `${NETWORK[family]}`, "via", ours]);
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
      for (const netns of [host, peer, container]) netns.dispose();
    });

    const protect = ({ isMasqueraded = false, alias = "", isChecked = false } = {}): Promise<void> => {
      const aliases = alias === "" ? [] : [Address.parse(alias)];
      const sourcesOf = (family: 4 | 6) => (isChecked ? [Address.parse(ADDRESSES[family].peer)] : "any");
      const tunnel = { port: PORT, parentInterface: "eth0", aliases: [] } as const;
      return guard.update(
        null,
        planFirewall({
          networks: NETWORK,
          containers: NETWORK,
          subnets: SUBNET,
          masquerade: { isEnabled: isMasqueraded, randomFully: true, excluded: [] },
          prefersNft: false,
          forwardRules: true,
          entrances: { 4: ["flannel.1"], 6: ["flannel-v6.1"] },
          tunnels: {
            4: {
              ...tunnel,
              aliases,
              sources: sourcesOf(4),
              address: Address.parse(ADDRESSES[4].host),
              device: "flannel.1",
            },
            6: {
              ...tunnel,
              sources: sourcesOf(6),
              address: Address.parse(ADDRESSES[6].host),
              device: "flannel-v6.1",
            },
          },
          openPort: false,
          notrack: true,
          mssClamp: false,
          containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
        }),
      );
    };

    /** Connects `netns` by an interface `name` of the host: a bridge, or one end of a veth pair. */
    const attach = (netns: TestNetns, name: string, isBridge: boolean): void => {
      const end = isBridge ? "port0" : name;
      host.exec("ip", ["link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", netns.name]);
      host.exec("ip", ["link", "set", end, "up"]);
      netns.exec("ip", ["link", "set", "eth0", "up"]);
      if (!isBridge) return;
      host.exec("ip", ["link", "add", name, "up", "type", "bridge"]);
      host.exec("ip", ["link", "set", end, "master", name]);
    };
    /** Addresses and routes as CNI's plugins ptp and bridge set them. */
    const attachContainer = (name: string, isBridge: boolean): void => {
      attach(container, name, isBridge);
      for (const family of FAMILIES) {
        const { gateway, container: own } = ADDRESSES[family];
        const bits = family === 4 ? 32 : 128;
        addAddress(host, name, isBridge ? `${gateway}/${SUBNET[family].length}` : `${gateway}/${bits}`);
        if (!isBridge) host.exec("ip", ["route", "add", `${own}/${bits}`, "dev", name]);
        addAddress(container, "eth0", `${own}/${bits}`);
        container.exec("ip", ["route", "add", `${gateway}/${bits}`, "dev", "eth0"]);
        container.exec("ip", [`-${family}`, "route", "add", "default", "via", gateway, "dev", "eth0"]);
        // Whose neighbour is not known yet would ask for it with the forged address, and hear no answer.
        container.exec("ping", ["-c", "1", "-w", "5", gateway]);
      }
    };
    const isAccepted = (
      from: TestNetns,
      source: string,
      by: TestNetns,
      target: string,
      device = "",
    ): boolean => {
      const before = received(by);
      sendDatagram(from, source, target, PORT, device);
      return received(by) > before;
    };

    describe.each(ATTACHMENTS)("from a container behind %s", (name, isBridge) => {
      it.each(FAMILIES)("reach no tunnel, over IPv%i", async (family) => {
        attachContainer(name, isBridge);
        const own = ADDRESSES[family];
        const forged = [own.peer, own.elsewhere, own.container];
        const accepted = (): boolean[] =>
          forged.map((source) => isAccepted(container, source, host, own.host));
        expect(accepted()).toEqual([true, true, true]);
        await protect();
        expect(accepted()).toEqual([false, false, false]);
        expect(isAccepted(container, own.container, host, own.gateway)).toBe(false);
        expect(isAccepted(container, own.container, peer, own.peer)).toBe(false);
      });
    });

    describe("to more than one host", () => {
      /** Packets that the kernel delivers to the tunnel's socket although they are not for its address. */
      const groups = { 4: ["10.2.54.255", "255.255.255.255", "224.0.0.1"], 6: ["ff02::1", "fd00:2:0:54::"] };

      it.each(FAMILIES)("reach no tunnel from a container, over IPv%i", async (family) => {
        attachContainer("docker0", true);
        const { container: own, peer: forged } = ADDRESSES[family];
        container.exec("ip", ["route", "add", "255.255.255.255", "dev", "eth0"]);
        container.exec("ip", ["route", "add", "10.2.54.255", "dev", "eth0", "scope", "link"]);
        addAddress(container, "eth0", `10.2.54.5/24`);
        const accepted = () =>
          groups[family].flatMap((target) =>
            [own, forged].map((source) => isAccepted(container, source, host, target, "eth0")),
          );
        const before = accepted();
        expect(before).toContain(true);
        for (const isChecked of [false, true]) {
          await protect({ isChecked });
          expect(accepted()).toEqual(before.map(() => false));
        }
      });

      it.each(FAMILIES)("reach no tunnel from a stranger on the link, over IPv%i", async (family) => {
        const { peer: own } = ADDRESSES[family];
        peer.exec("ip", ["route", "add", "255.255.255.255", "dev", "eth0"]);
        const targets = { 4: ["192.168.50.255", "255.255.255.255", "224.0.0.1"], 6: ["ff02::1"] };
        const accepted = () => targets[family].map((target) => isAccepted(peer, own, host, target, "eth0"));
        expect(accepted()).toEqual(targets[family].map(() => true));
        for (const isChecked of [false, true]) {
          await protect({ isChecked });
          expect(accepted()).toEqual(targets[family].map(() => false));
        }
      });

      it("are relayed to no other host, with and without masquerade", async () => {
        attachContainer("docker0", true);
        const { container: own, peer: forged } = ADDRESSES[4];
        const subnetOfPeer = "10.2.77.1";
        addAddress(peer, "eth0", `${subnetOfPeer}/24`);
        host.exec("ip", ["route", "add", "10.2.77.0/24", "via", ADDRESSES[4].peer]);
        const targets = ["192.168.50.255", "10.2.77.255", "255.255.255.255"];
        const accepted = () =>
          targets.flatMap((target) =>
            [own, forged].map((source) => isAccepted(container, source, peer, target)),
          );
        container.exec("ip", ["route", "add", "255.255.255.255", "dev", "eth0"]);
        expect(accepted()).toContain(true);
        for (const isMasqueraded of [false, true]) {
          for (const isChecked of [false, true]) {
            await protect({ isMasqueraded, isChecked });
            expect(accepted()).toEqual([false, false, false, false, false, false]);
          }
        }
      });

      it.runIf(canFilterBridges())("pass between the ports of a bridge", async () => {
        attachContainer("docker0", true);
        peer.exec("ip", ["link", "del", "eth0"]);
        host.exec("ip", ["link", "add", "port1", "type", "veth", "peer", "name", "eth0", "netns", peer.name]);
        host.exec("ip", ["link", "set", "port1", "up", "master", "docker0"]);
        host.exec("sysctl", ["-qw", "net.bridge.bridge-nf-call-iptables=1"]);
        peer.exec("ip", ["link", "set", "eth0", "up"]);
        addAddress(peer, "eth0", "172.30.0.2/24");
        addAddress(container, "eth0", "172.30.0.3/24");
        for (const isChecked of [false, true]) {
          await protect({ isChecked });
          expect(isAccepted(container, "172.30.0.3", peer, "224.0.0.1", "eth0")).toBe(true);
        }
      });
    });

    it("are accepted at a second address of this host that peers send to", async () => {
      addAddress(host, "lo", "198.51.100.1/32");
      peer.exec("ip", ["route", "add", "198.51.100.1", "via", ADDRESSES[4].host]);
      await protect();
      expect(isAccepted(peer, ADDRESSES[4].peer, host, "198.51.100.1")).toBe(false);
      await protect({ alias: "198.51.100.1", isChecked: true });
      expect(isAccepted(peer, ADDRESSES[4].peer, host, "198.51.100.1")).toBe(true);
      expect(isAccepted(peer, "192.168.50.77", host, "198.51.100.1")).toBe(false);
      await protect({ alias: "198.51.100.1" });
      expect(isAccepted(peer, ADDRESSES[4].peer, host, "198.51.100.1")).toBe(true);
      expect(isAccepted(peer, ADDRESSES[4].peer, host, ADDRESSES[4].host)).toBe(true);
    });

    it("leave this host for no other one, by the interfaces that containers usually have", async () => {
      attachContainer("veth1a2b3c", false);
      const { elsewhere, peer: target } = ADDRESSES[4];
      expect(isAccepted(container, elsewhere, peer, target)).toBe(true);
      await protect();
      expect(isAccepted(container, elsewhere, peer, target)).toBe(false);
    });

    it.each(FAMILIES)(
      "are told from those that the neighbours send to another uplink, over IPv%i",
      async (family) => {
        const own = ADDRESSES[family];
        attach(container, "eth1", false);
        const mac = String(host.ipJson(["link", "show", "eth1"])[0]?.address);
        container.exec("ip", ["route", "add", `${own.host}/${family === 4 ? 32 : 128}`, "dev", "eth0"]);
        container.exec("ip", ["neighbour", "add", own.host, "lladdr", mac, "dev", "eth0"]);
        addAddress(container, "eth0", `${own.peer}/${family === 4 ? 32 : 128}`);
        await protect();
        expect(isAccepted(container, own.peer, host, own.host)).toBe(true);
      },
    );

    it.each(FAMILIES)("are told from true ones, over IPv%i", async (family) => {
      const own = ADDRESSES[family];
      attach(container, "uplink2", false);
      addAddress(host, "uplink2", `${own.second}/${own.length}`);
      addAddress(container, "eth0", `${own.member}/${own.length}`);
      await protect();
      expect(isAccepted(peer, own.peer, host, own.host)).toBe(true);
      // The tunnel's own interface may see sources to which packets go another way.
      expect(isAccepted(peer, own.member, host, own.host)).toBe(true);
      container.exec("ip", ["route", "add", own.host, "via", own.second]);
      expect(isAccepted(container, own.member, host, own.host)).toBe(true);
      // No peer sends to another address than the one that this host publishes.
      expect(isAccepted(container, own.member, host, own.second)).toBe(false);
      expect(isAccepted(host, own.host, host, own.host)).toBe(true);
      expect(isAccepted(host, own.host, peer, own.peer)).toBe(true);
    });
  });
}

function received(netns: TestNetns): number {
  return Number(/packets (\d+)/.exec(netns.exec("nft", ["list", "table", "inet", "count"]))?.[1]);
}

/** The kernel shows bridged packets to the firewall only with br_netfilter. */
function canFilterBridges(): boolean {
  return existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables");
}
