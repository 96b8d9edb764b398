/** The masquerade with packets of both families: whose address a receiver sees, for every way through this host. */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import { FAMILIES, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { addAddress, sendDatagram } from "./datagrams.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const PORT = 9;
/** What is sent to this port carries the mark that kube-proxy sets, beside another one. */
const MARKED_PORT = 10;
const NETWORK = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") };
const SUBNET = { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") };
const EXCLUDED = ["172.16.0.0/12", "fd00:172::/32"].map((text) => Prefix.parse(text));

/** Addresses of the host towards the container, a member of the network elsewhere and the world; and of those three. */
const ADDRESSES = {
  4: {
    length: 24,
    toContainer: "10.2.54.1",
    toRemote: "10.2.55.254",
    toWorld: "192.0.2.1",
    container: "10.2.54.5",
    remote: "10.2.55.5",
    world: "192.0.2.5",
    excluded: "172.16.0.5",
  },
  6: {
    length: 64,
    toContainer: "fd00:2:0:54::1",
    toRemote: "fd00:2:0:55::fe",
    toWorld: "2001:db8::1",
    container: "fd00:2:0:54::5",
    remote: "fd00:2:0:55::5",
    world: "2001:db8::5",
    excluded: "fd00:172::5",
  },
} as const;

type Place = "container" | "remote" | "world";
const PLACES: readonly Place[] = ["container", "remote", "world"];

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`the masquerade of the ${choice} engine`, () => {
    let host: TestNetns;
    let places: Record<Place, TestNetns>;
    let guarded: Guarded;
    let guard: FirewallGuard;

    beforeEach(async () => {
      host = createNetns("mqhost");
      places = {
        container: createNetns("mqcont"),
        remote: createNetns("mqrem"),
        world: createNetns("mqworld"),
      };
      host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
      for (const place of PLACES) connect(place);
      for (const family of FAMILIES) {
        const { world, excluded } = ADDRESSES[family];
        addAddress(places.world, "lo", `${excluded}/${family === 4 ? 32 : 128}`);
        host.exec("ip", [`-${family}`, "route", "add", "default", "via", world]);
      }
      host.exec("nft", [
        `add table inet marks; add chain inet marks in { type filter hook prerouting priority -150; };
        add rule inet marks in udp dport ${MARKED_PORT} meta mark set 0xc000`,
      ]);
      for (const tool of ["iptables", "ip6tables"]) host.exec(tool, ["-P", "FORWARD", "DROP"]);
      guarded = guardOf(host, choice);
      guard = guarded.guard;
      await guard.update(
        null,
        planFirewall({
          networks: NETWORK,
          containers: NETWORK,
          subnets: SUBNET,
          masquerade: { isEnabled: true, randomFully: true, excluded: EXCLUDED },
          prefersNft: false,
          forwardRules: true,
          entrances: {},
          tunnels: {},
          openPort: false,
          notrack: true,
          mssClamp: false,
          containerInterfaces: [],
        }),
      );
    });
    afterEach(async () => {
      await guarded.dispose();
      for (const netns of [host, ...Object.values(places)]) netns.dispose();
    });

    const connect = (place: Place): void => {
      const netns = places[place];
      host.exec("ip", ["link", "add", place, "type", "veth", "peer", "name", "eth0", "netns", netns.name]);
      host.exec("ip", ["link", "set", place, "up"]);
      netns.exec("ip", ["link", "set", "eth0", "up"]);
      const towards = { container: "toContainer", remote: "toRemote", world: "toWorld" } as const;
      for (const family of FAMILIES) {
        const { length, ...own } = ADDRESSES[family];
        addAddress(host, place, `${own[towards[place]]}/${length}`);
        addAddress(netns, "eth0", `${own[place]}/${length}`);
        netns.exec("ip", [`-${family}`, "route", "add", "default", "via", own[towards[place]]]);
        // Both ends know each other from now on.
        netns.exec("ping", ["-c", "1", "-w", "5", own[towards[place]]]);
      }
      netns.exec("nft", [
        `add table inet seen; add set inet seen s4 { type ipv4_addr; flags dynamic; };
        add set inet seen s6 { type ipv6_addr; flags dynamic; };
        add chain inet seen in { type filter hook input priority 0; };
        add rule inet seen in udp dport { ${PORT}, ${MARKED_PORT} } add @s4 { ip saddr };
        add rule inet seen in udp dport { ${PORT}, ${MARKED_PORT} } add @s6 { ip6 saddr }`,
      ]);
    };
    /** The sources that the receiver has seen after one packet. */
    const seen = (
      family: Family,
      from: Place,
      to: Place,
      target: string = ADDRESSES[family][to],
      port = PORT,
    ) => {
      sendDatagram(places[from], ADDRESSES[family][from], target, port);
      const set = places[to].exec("nft", ["list", "set", "inet", "seen", `s${family}`]);
      return /elements = \{ ([^}]*?) \}/.exec(set)?.[1] ?? "";
    };

    it.each(FAMILIES)("hides containers from the world alone, over IPv%i", (family) => {
      const { container, toWorld, toRemote, world } = ADDRESSES[family];
      expect(seen(family, "container", "world")).toBe(toWorld);
      expect(seen(family, "container", "remote")).toBe(container);
      expect(seen(family, "remote", "container")).toBe(ADDRESSES[family].remote);
      expect(seen(family, "world", "container")).toContain(world);
      expect(seen(family, "world", "remote")).toContain(toRemote);
    });

    it.each(FAMILIES)("leaves the source to excluded destinations, over IPv%i", (family) => {
      const { container, excluded } = ADDRESSES[family];
      expect(seen(family, "container", "world", excluded)).toBe(container);
    });

    it.each(FAMILIES)("leaves to kube-proxy what that has marked, over IPv%i", (family) => {
      const { container, world } = ADDRESSES[family];
      expect(seen(family, "container", "world", world, MARKED_PORT)).toBe(container);
    });
  });
}
