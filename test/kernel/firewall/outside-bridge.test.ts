/** The bridge to the outside of containers on named networks: only its containers are masqueraded as such. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import { FAMILIES } from "../../../ipam/addresses/ip.ts";
import { OUTSIDE, outsideGateway } from "../../../ipam/containers/outside.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { addAddress, sendDatagram } from "./datagrams.ts";
import { INPUT } from "./fixture.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const PORT = 4000;
const LINKS = {
  4: { length: 24, neighbour: "192.168.50", far: "192.168.60" },
  6: { length: 64, neighbour: "fd00:50:", far: "fd00:60:" },
} as const;

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`the bridge to the outside and the ${choice} engine`, () => {
    let host: TestNetns;
    let container: TestNetns;
    let neighbour: TestNetns;
    let far: TestNetns;
    let guarded: Guarded;

    beforeEach(() => {
      [host, container, neighbour, far] = [
        createNetns("obhost"),
        createNetns("obcont"),
        createNetns("obnear"),
        createNetns("obfar"),
      ];
      host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
      host.exec("sysctl", ["-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"]);
      host.ip(
        `link add ${OUTSIDE.name} up type bridge`,
        `link add port0 up master ${OUTSIDE.name} type veth peer name eth0 netns ${container.name}`,
        `link add near up type veth peer name eth0 netns ${neighbour.name}`,
        `link add far up type veth peer name eth0 netns ${far.name}`,
      );
      for (const netns of [container, neighbour, far]) netns.ip("link set lo up", "link set eth0 up");
      for (const family of FAMILIES) {
        const { length, neighbour: near, far: away } = LINKS[family];
        const [separator, gateway] = [family === 4 ? "." : ":", outsideGateway(family)];
        const join = (netns: TestNetns, device: string, link: string): void => {
          addAddress(host, device, `${link}${separator}1/${length}`);
          addAddress(netns, "eth0", `${link}${separator}2/${length}`);
          netns.exec("ip", [`-${family}`, "route", "add", "default", "via", `${link}${separator}1`]);
        };
        join(neighbour, "near", near);
        join(far, "far", away);
        const bits = OUTSIDE.subnets[family].length;
        addAddress(host, OUTSIDE.name, `${gateway}/${bits}`);
        addAddress(container, "eth0", `${gateway.plus(1n)}/${bits}`);
        container.exec("ip", [`-${family}`, "route", "add", "default", "via", `${gateway}`]);
      }
      far.exec("nft", [
        `add table inet count; add chain inet count in { type filter hook input priority 10; };
        add rule inet count in udp dport ${PORT} counter`,
      ]);
      guarded = guardOf(host, choice);
    });
    afterEach(async () => {
      await guarded.dispose();
      for (const netns of [host, container, neighbour, far]) netns.dispose();
    });

    it.each(FAMILIES)("leads none out that only pretends to be on it, over IPv%i", async (family) => {
      await guarded.guard.update(
        null,
        planFirewall({
          ...INPUT,
          ...{ networks: {}, subnets: {}, containers: {}, entrances: {}, tunnels: {} },
          segments: { prefix: "tb-", bridges: [], families: FAMILIES, ports: [], outside: OUTSIDE },
        }),
      );
      const target = `${LINKS[family].far}${family === 4 ? "." : ":"}2`;
      const source = `${outsideGateway(family).plus(1n)}`;
      for (const netns of [container, neighbour]) netns.exec("ping", ["-c", "1", "-w", "5", target]);
      const passes = (from: TestNetns): boolean => {
        const before = received(far);
        sendDatagram(from, source, target, PORT);
        return received(far) > before;
      };
      expect(passes(container)).toBe(true);
      expect(passes(neighbour)).toBe(false);
    });
  });
}

function received(netns: TestNetns): number {
  return Number(/packets (\d+)/.exec(netns.exec("nft", ["list", "table", "inet", "count"]))?.[1]);
}
