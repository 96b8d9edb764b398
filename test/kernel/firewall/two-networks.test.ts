/**
 * Two networks of one host on one UDP port, whose tunnels use different interfaces or the same one: containers of each
 * reach their peers, strangers reach neither tunnel.
 */

import { afterEach, beforeEach, expect, it } from "vitest";
import { JointPlans } from "../../../backends/firewall/joint-plans.ts";
import { DEFAULT_CONTAINER_INTERFACES, type FirewallInput } from "../../../backends/firewall/plan-input.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { canPing } from "../../support/can-ping.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { sendDatagram, vxlanPacket } from "./datagrams.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const PORT = 8472;
const QUIET_SYSCTLS = [
  "net.ipv6.conf.default.disable_ipv6=1",
  "net.ipv4.conf.all.rp_filter=0",
  "net.ipv4.conf.default.rp_filter=0",
  "net.ipv4.ip_forward=1",
];

interface Network {
  readonly vni: number;
  /** The first three octets of the LAN that carries it. */
  readonly lan: string;
  readonly uplink: string;
  /** The first two octets of its range. */
  readonly range: string;
}

const RED: Network = { vni: 1, lan: "192.168.50", uplink: "eth0", range: "10.2" };
/** An uplink that the kernel's naming would not give, and that looks like a bridge of containers. */
const BLUE: Network = { vni: 2, lan: "192.168.60", uplink: "br-lan", range: "10.3" };
const ALIAS = "198.51.100.1";

interface Box {
  readonly netns: TestNetns;
  readonly peer: TestNetns;
  readonly network: Network;
}

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`two networks on one port and the ${choice} engine`, () => {
    let host: TestNetns;
    let boxes: Box[];
    let guarded: Guarded;
    let plans: JointPlans;

    beforeEach(() => {
      host = quietNetns("twohost");
      boxes = [RED, BLUE].map((network) => join(host, network));
      guarded = guardOf(host, choice);
      plans = new JointPlans(guarded.guard);
    });
    afterEach(async () => {
      await guarded.dispose();
      for (const netns of [host, ...boxes.flatMap((box) => [box.netns, box.peer])]) netns.dispose();
    });

    const protect = async (sources: "any" | "peers", aliases: readonly string[] = []): Promise<void> => {
      for (const network of [RED, BLUE])
        await plans.update(network === RED ? null : "blue", inputOf(network, sources, aliases));
    };
    const canReachPeers = (): boolean[] =>
      boxes.map(({ netns, network }) => canPing(netns, `${network.range}.2.1`));
    /** Which of the two tunnels delivers a packet that `from` sends with the source to the address. */
    const reached = (from: TestNetns, source: string, target: string): boolean[] =>
      [RED, BLUE].map(({ vni }) => {
        const before = received(host, vni);
        sendDatagram(from, source, target, PORT, "", vxlanPacket(vni));
        return received(host, vni) > before;
      });

    it.each(["any", "peers"] as const)(
      "let containers reach their peers, with sources: %s",
      async (sources) => {
        expect(canReachPeers()).toEqual([true, true]);
        await protect(sources);
        expect(canReachPeers()).toEqual([true, true]);
        await protect(sources, [ALIAS]);
        expect(canReachPeers()).toEqual([true, true]);
      },
    );

    it("let no stranger reach either tunnel where only peers may send", async () => {
      const strangers = () =>
        boxes.flatMap(({ peer, network }) => reached(peer, `${network.lan}.77`, `${network.lan}.1`));
      expect(strangers()).toEqual([true, true, true, true]);
      await protect("peers");
      expect(strangers()).toEqual([false, false, false, false]);
    });

    it("let no container reach either tunnel, whichever network it is in", async () => {
      const forged = () =>
        boxes.flatMap(({ netns, network }) =>
          [RED, BLUE].flatMap(({ lan }) => reached(netns, `${network.range}.1.2`, `${lan}.1`)),
        );
      expect(forged()).toContain(true);
      await protect("any");
      expect(forged()).toEqual(Array(8).fill(false));
    });

    it("receive nothing at addresses that are neither tunnel's", async () => {
      host.exec("ip", ["address", "add", ALIAS, "dev", "lo"]);
      const aliased = () => boxes.flatMap(({ peer, network }) => reached(peer, `${network.lan}.2`, ALIAS));
      expect(aliased()).toEqual([true, true, true, true]);
      await protect("any");
      expect(aliased()).toEqual([false, false, false, false]);
    });

    it("admit the peers of both where they share an address, until one of them stops", async () => {
      const [red] = boxes as [Box, Box];
      const share = (peer: string, network: Network): FirewallInput => {
        const input = inputOf({ ...RED, vni: network.vni, range: network.range }, "any");
        const tunnel = input.tunnels[4];
        if (tunnel === undefined) throw new Error("the network has no tunnel");
        return { ...input, tunnels: { 4: { ...tunnel, sources: [Address.parse(peer)] } } };
      };
      const from = (source: string) => reached(red.peer, source, `${RED.lan}.1`);
      await plans.update(null, share(`${RED.lan}.2`, RED));
      expect(from(`${RED.lan}.3`)).toEqual([false, false]);
      await plans.update("blue", share(`${RED.lan}.3`, BLUE));
      expect(from(`${RED.lan}.2`)).toEqual([true, true]);
      expect(from(`${RED.lan}.3`)).toEqual([true, true]);
      expect(from(`${RED.lan}.4`)).toEqual([false, false]);
      await plans.leave("blue");
      expect(from(`${RED.lan}.4`)).toEqual([true, true]);
    });
  });
}

function inputOf(network: Network, sources: "any" | "peers", aliases: readonly string[] = []): FirewallInput {
  const range = Prefix.parse(`${network.range}.0.0/16`);
  return {
    networks: { 4: range },
    containers: { 4: range },
    subnets: { 4: Prefix.parse(`${network.range}.1.0/24`) },
    masquerade: { isEnabled: true, randomFully: true, excluded: [] },
    prefersNft: false,
    forwardRules: true,
    entrances: { 4: [`flannel.${network.vni}`] },
    tunnels: {
      4: {
        port: PORT,
        parentInterface: network.uplink,
        address: Address.parse(`${network.lan}.1`),
        aliases: aliases.map((each) => Address.parse(each)),
        device: `flannel.${network.vni}`,
        sources: sources === "any" ? "any" : [Address.parse(`${network.lan}.2`)],
      },
    },
    openPort: false,
    notrack: true,
    mssClamp: false,
    containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
  };
}

function quietNetns(label: string): TestNetns {
  const netns = createNetns(label);
  netns.exec("sysctl", ["-qw", ...QUIET_SYSCTLS]);
  return netns;
}

/** Makes the host's end of a network, one peer, and a container at the host behind an interface of any name. */
function join(host: TestNetns, network: Network): Box {
  const { lan, uplink, range, vni } = network;
  const [peer, netns] = [quietNetns(`peer${vni}`), quietNetns(`cont${vni}`)];
  connect(host, uplink, `${lan}.1/24`, peer, `${lan}.2/24`);
  connect(host, `link${vni}`, `${range}.1.1/24`, netns, `${range}.1.2/24`);
  netns.exec("ip", ["route", "add", "default", "via", `${range}.1.1`]);
  tunnel(host, network, 1, 2);
  tunnel(peer, network, 2, 1);
  peer.ip(`address add ${range}.2.1/32 dev lo`, `route add default via ${lan}.1`);
  return { netns, peer, network };
}

function connect(host: TestNetns, name: string, address: string, other: TestNetns, there: string): void {
  host.ip(
    `link add ${name} type veth peer name eth0 netns ${other.name}`,
    `address add ${address} dev ${name}`,
    `link set ${name} up`,
  );
  other.ip(`address add ${there} dev eth0`, "link set eth0 up");
}

/** The device of a network's host number `own`, with what leads to the host number `other`. */
function tunnel(netns: TestNetns, { vni, lan, range }: Network, own: number, other: number): void {
  const device = `flannel.${vni}`;
  const mac = (host: number) => `02:00:00:00:00:0${host}`;
  netns.ip(
    `link add ${device} address ${mac(own)} mtu 1450 type vxlan id ${vni} local ${lan}.${own} dstport ${PORT} nolearning`,
    `address add ${range}.${own}.0/32 dev ${device}`,
    `link set ${device} up`,
    `neighbour add ${range}.${other}.0 lladdr ${mac(other)} nud permanent dev ${device}`,
    `route add ${range}.${other}.0/24 via ${range}.${other}.0 dev ${device} onlink`,
  );
  netns.exec("bridge", [
    ...["fdb", "add", mac(other), "dev", device],
    ...["dst", `${lan}.${other}`, "self", "permanent"],
  ]);
}

/** Packets that have come out of the tunnel. */
function received(host: TestNetns, vni: number): number {
  const [link] = host.ipJson(["-s", "link", "show", `flannel.${vni}`]) as {
    stats64: { rx: { packets: number } };
  }[];
  return link?.stats64.rx.packets ?? 0;
}
