/**
 * What the firewall must hold, from the network's configuration and this host's lease alone.
 *
 * Pure and total: any input gives a plan, nothing is read and nothing is written. The same for every backend.
 *
 * The masquerade chain keeps flannel's documented order: what kube-proxy marked is left to kube-proxy, traffic
 * inside the network and traffic to our own containers keeps its source, the rest that leaves or enters the
 * network is masqueraded.
 */

import {
  ADDRESS_BITS,
  type Address,
  FAMILIES,
  type Family,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import {
  type Action,
  type ChainRole,
  type FamilyRules,
  type FirewallPlan,
  type GuardedPort,
  LINK_LOCAL_PREFIX,
  type Matches,
  MULTICAST_PREFIX,
  type PrefixMatch,
  type Rule,
} from "./rules.ts";

export interface MasqueradeInput {
  readonly isEnabled: boolean;
  /** Choose source ports at random, which spreads colliding connections (NF_NAT_RANGE_PROTO_RANDOM_FULLY). */
  readonly randomFully: boolean;
  /** Destinations outside the network that must see the containers' own addresses; both families mixed. */
  readonly excluded: readonly Prefix[];
}

/** The tunnel of one underlay family. */
export type TunnelInput = TunnelPackets & TunnelEnds;

/** Which packets are the tunnel's: those to a UDP port, 1 .. 65535, or those of an IP protocol. */
type TunnelPackets = { readonly port: number } | { readonly protocol: "ipip" };

interface TunnelEnds {
  /** The interface that carries the tunnel. */
  readonly parentInterface: string;
  /** This host's address there. */
  readonly address: Address;
  /** Other addresses of this family to which peers send. */
  readonly aliases: readonly Address[];
  /** The overlay device, for the MSS clamp: `flannel.1`. */
  readonly device: string;
  /** Which sources of tunnel packets are accepted: any, or the peers' public addresses. */
  readonly sources: "any" | readonly Address[];
  /** The kernel itself drops forged tunnel packets, so that the rules only let them in and clamp the MSS. */
  readonly isAuthenticated?: boolean;
  /** `sources` holds for packets with the VNI of a named network only; others on the port are another network's. */
  readonly isOfNamedNetworks?: true;
}

export interface FirewallInput {
  /** The cluster's range. */
  readonly networks: PerFamily<Prefix>;
  /** The network configuration enables nftables. */
  readonly prefersNft: boolean;
  /** This host's own subnet. */
  readonly subnets: PerFamily<Prefix>;
  /** Where only containers are: the network, but no more than our own subnet where hosts live in the network. */
  readonly containers: PerFamily<Prefix>;
  /** Ranges of this host's other networks; packets between their containers and ours are dropped. */
  readonly isolated?: readonly Prefix[];
  /** This host's other networks. */
  readonly beside?: readonly NetworkBeside[];
  readonly masquerade: MasqueradeInput;
  /** Accept what is forwarded from and to the network. */
  readonly forwardRules: boolean;
  /** Interfaces by which packets of other hosts' containers come and go. */
  readonly entrances: PerFamily<readonly string[]>;
  /** By underlay family; empty for backends without a UDP tunnel. */
  readonly tunnels: PerFamily<TunnelInput>;
  /** More tunnels of the same ends, while the network changes its backend. Who sends by them is not judged here. */
  readonly sideTunnels?: PerFamily<readonly TunnelInput[]>;
  /** Accept tunnel packets in INPUT. */
  readonly openPort: boolean;
  /** Keep tunnel packets out of connection tracking. */
  readonly notrack: boolean;
  /** Lower the MSS of TCP connections that leave by the overlay device to its MTU. */
  readonly mssClamp: boolean;
  /**
   * Interfaces behind which containers sit; a trailing `*` stands for any ending. Tunnel packets from there are
   * forged, whatever source address they carry.
   */
  readonly containerInterfaces: readonly string[];
  /** Bridges of which containers may send with sources in this host's subnets only; none by default. */
  readonly strictBridges?: readonly string[];
  /** Bridges that only switch frames: this host routes nothing from or to them, and has no part in them itself. */
  readonly segments?: SegmentRules;
}

export interface SegmentRules {
  /** What the names of all of them begin with. */
  readonly prefix: string;
  readonly bridges: readonly string[];
  readonly families: readonly Family[];
  readonly ports: readonly GuardedPort[];
  /** The bridge by which containers on such networks reach the outside; absent or null where none does. */
  readonly outside?: OutsideBridge | null;
}

/** Its containers reach neither each other by it, nor does another host reach them but by a published port. */
export interface OutsideBridge {
  readonly name: string;
  readonly subnet: Prefix;
}

/** What one network's rules must know of another one of this host. */
export type NetworkBeside = Pick<FirewallInput, "tunnels" | "containers">;

/** Where Docker, CNI's plugins and podman put containers unless told otherwise. */
export const DEFAULT_CONTAINER_INTERFACES: readonly string[] = [
  "docker0",
  "docker_gwbridge",
  "br-*",
  "cni*",
  "podman*",
  // Where CNI's plugin ptp and Calico put them, without a bridge.
  "veth*",
  "cali*",
];

/**
 * Names that systemd and the kernel give to what leads out of a host, and to bundles of it. Packets may come in by any
 * of them: where a host has several in one segment, the neighbours choose (arp_announce in the kernel's ip-sysctl).
 */
const UPLINKS: readonly string[] = ["e*", "ib*", "wl*", "ww*", "bond*", "team*"];

/** The bit with which kube-proxy marks packets that it will masquerade itself. */
const KUBE_PROXY_MARK = { value: 0x4000, mask: 0x4000 } as const;

/** Plans the firewall. Never throws. */
export function planFirewall(input: FirewallInput): FirewallPlan {
  const rules: Partial<Record<Family, FamilyRules>> = {};
  for (const family of FAMILIES) {
    const hasSegments = input.segments?.families.includes(family) ?? false;
    if (input.networks[family] === undefined && input.tunnels[family] === undefined && !hasSegments) continue;
    rules[family] = planFamily(input, family);
  }
  const ports = input.segments === undefined ? {} : { ports: input.segments.ports };
  return { rules, prefersNft: input.prefersNft, warnings: warningsFor(input), ...ports };
}

function planFamily(input: FirewallInput, family: Family): FamilyRules {
  const tunnel = input.tunnels[family];
  const judged = tunnel?.isAuthenticated ? undefined : tunnel;
  const all = [...(tunnel === undefined ? [] : [tunnel]), ...(input.sideTunnels?.[family] ?? [])];
  const chains: Record<ChainRole, readonly Rule[]> = {
    forward: forwardRules(input, family),
    "docker-user": dockerUserRules(input, family),
    masquerade: masqueradeRules(input, family),
    input: input.openPort ? acceptRules(all) : [],
    "container-in": [...containerInRules(input, family), ...outsideDrops(input.segments, family)],
    "tunnel-in": judged === undefined ? [] : tunnelInRules(input, family, judged),
    "tunnel-out": judged !== undefined && input.notrack ? [rule({}, NOTRACK)] : [],
    "tunnel-forward": judged === undefined ? [] : tunnelForwardRules(input, family, judged),
    "tunnel-local":
      judged === undefined ? [] : tunnelLocalRules(judged, tunnelsBeside(input, family, judged)),
    "mss-clamp": all.flatMap((each) => mssClampRules(input, each)),
    ...bridgeRules(input, family),
    "overlay-in": overlayInRules(input, family),
  };
  const gates = { ...(judged === undefined ? {} : gatesOf(judged)), ...bridgeGates(input) };
  return { chains, gates, knownSources: judged === undefined ? null : knownSourcesOf(input, family, judged) };
}

function forwardRules(input: FirewallInput, family: Family): Rule[] {
  const network = input.networks[family];
  if (network === undefined) return switchedAccepts(input, family);
  const drops = isolationDrops(input, network);
  if (!input.forwardRules) return drops;
  return [
    ...drops,
    rule({ source: inside(network) }, ACCEPT),
    rule({ destination: inside(network) }, ACCEPT),
  ];
}

/**
 * Frames that a bridge switches pass the chains of forwarded packets where bridge-nf-call-iptables is on. What is routed
 * between two such bridges looks the same here, and has been dropped in bridge-from before.
 */
function switchedAccepts({ segments }: FirewallInput, family: Family): Rule[] {
  if (segments === undefined || !segments.families.includes(family)) return [];
  const any = `${segments.prefix}*`;
  return [
    rule({ inputInterface: any, outputInterface: any }, ACCEPT),
    ...outsideAccepts(segments.outside ?? null, family),
  ];
}

/** What arrives for a container there has been judged in container-in. */
function outsideAccepts(outside: OutsideBridge | null, family: Family): Rule[] {
  if (outside === null || outside.subnet.family !== family) return [];
  const { name } = outside;
  return [
    rule({ inputInterface: name, outputInterface: name }, DROP),
    rule({ inputInterface: name }, ACCEPT),
    rule({ outputInterface: name }, ACCEPT),
  ];
}

/**
 * Before addresses are translated, no packet from elsewhere has a container's address on that bridge as its destination:
 * answers and packets to published ports have this host's.
 */
function outsideDrops(segments: SegmentRules | undefined, family: Family): Rule[] {
  const bridge = segments?.outside ?? null;
  if (bridge === null || bridge.subnet.family !== family) return [];
  const { name, subnet } = bridge;
  return [
    rule({ inputInterface: name, source: outside(subnet) }, DROP),
    rule({ inputInterface: name }, RETURN),
    rule({ destination: inside(subnet) }, DROP),
  ];
}

/** Behind gates: packets that enter or leave by such a bridge. Switched frames enter and leave by the same one. */
function bridgeRules(
  { segments }: FirewallInput,
  family: Family,
): Record<"bridge-from" | "bridge-to" | "bridge-in" | "bridge-out", readonly Rule[]> {
  if (segments === undefined || !segments.families.includes(family))
    return { "bridge-from": [], "bridge-to": [], "bridge-in": [], "bridge-out": [] };
  const switched = segments.bridges.map((name) =>
    rule({ inputInterface: name, outputInterface: name }, RETURN),
  );
  const judged = rule({ inputInterface: `${segments.prefix}*` }, RETURN);
  const drop = rule({}, DROP);
  return {
    "bridge-from": [...switched, drop],
    "bridge-to": [judged, drop],
    "bridge-in": [drop],
    "bridge-out": [drop],
  };
}

function bridgeGates({ segments }: FirewallInput): FamilyRules["gates"] {
  if (segments === undefined) return {};
  const any = `${segments.prefix}*`;
  return {
    "bridge-from": { inputInterface: any },
    "bridge-to": { outputInterface: any },
    "bridge-in": { inputInterface: any },
    "bridge-out": { outputInterface: any },
  };
}

/** Packets between this network and another one of this host, in both directions. */
function isolationDrops({ isolated = [] }: FirewallInput, network: Prefix): Rule[] {
  return isolated
    .filter(({ family }) => family === network.family)
    .flatMap((other) => [
      rule({ source: inside(network), destination: inside(other) }, DROP),
      rule({ source: inside(other), destination: inside(network) }, DROP),
    ]);
}

function masqueradeRules(input: FirewallInput, family: Family): Rule[] {
  const bridge = input.segments?.outside ?? null;
  if (bridge !== null && bridge.subnet.family === family) {
    const masquerade: Action = { do: "masquerade", randomFully: input.masquerade.randomFully };
    return [rule({ source: inside(bridge.subnet), destination: outside(bridge.subnet) }, masquerade)];
  }
  const network = input.networks[family];
  const subnet = input.subnets[family];
  if (network === undefined || subnet === undefined || !input.masquerade.isEnabled) return [];
  const masquerade: Action = { do: "masquerade", randomFully: input.masquerade.randomFully };
  const excluded = input.masquerade.excluded.filter((prefix) => prefix.family === family);
  const multicast = Prefix.parse(MULTICAST_PREFIX[family]);
  return [
    rule({ mark: KUBE_PROXY_MARK }, RETURN),
    rule({ source: inside(subnet), destination: inside(network) }, RETURN),
    rule({ source: inside(network), destination: inside(subnet) }, RETURN),
    rule({ source: outside(network), destination: inside(subnet) }, RETURN),
    ...excluded.map((prefix) => rule({ source: inside(network), destination: inside(prefix) }, RETURN)),
    rule({ source: inside(network), destination: outside(multicast) }, masquerade),
    rule({ source: outside(network), destination: inside(network) }, masquerade),
  ];
}

function dockerUserRules(input: FirewallInput, family: Family): Rule[] {
  const network = input.networks[family];
  if (network === undefined) return switchedAccepts(input, family);
  const accepts = (input.entrances[family] ?? []).flatMap((name) => [
    rule({ source: inside(network), inputInterface: name }, ACCEPT),
    rule({ destination: inside(network), outputInterface: name }, ACCEPT),
  ]);
  return [...isolationDrops(input, network), ...(input.forwardRules ? accepts : [])];
}

function overlayInRules(input: FirewallInput, family: Family): Rule[] {
  const network = input.networks[family];
  const subnet = input.subnets[family];
  if (network === undefined || subnet === undefined || !input.forwardRules) return [];
  const packets: Matches = { source: inside(network), destination: inside(subnet) };
  return (input.entrances[family] ?? []).map((name) => rule({ ...packets, inputInterface: name }, ACCEPT));
}

/**
 * Drops foreign sources of containers. IPv6 also needs link-local sources for neighbour discovery, and the unspecified
 * one for duplicate address detection (RFC 4861, RFC 4862); neither is forwarded.
 */
function containerInRules({ subnets, strictBridges = [] }: FirewallInput, family: Family): Rule[] {
  const subnet = subnets[family];
  if (subnet === undefined) return [];
  const exempt = family === 4 ? [] : [LINK_LOCAL_PREFIX[family], "::/128"].map((text) => Prefix.parse(text));
  return strictBridges.flatMap((inputInterface) => [
    ...exempt.map((prefix) => rule({ inputInterface, source: inside(prefix) }, RETURN)),
    rule({ inputInterface, source: outside(subnet) }, DROP),
  ]);
}

/** Drops forged tunnel packets and, where only peers may send, those of other hosts; the rest is not tracked. */
function tunnelInRules(input: FirewallInput, family: Family, tunnel: TunnelInput): Rule[] {
  const beside = tunnelsBeside(input, family, tunnel);
  return [
    rule(notForTunnel(tunnel), RETURN),
    // Local addresses that only other networks use are theirs to judge; notForTunnel() returns them without aliases.
    ...(tunnel.aliases.length === 0 ? [] : returnsOf(foreignAddresses(tunnel, beside))),
    ...containerAddresses(input, family).map((source) => rule(source, DROP)),
    ...sourceChecks(input, family, tunnel),
    ...(input.notrack ? [rule({}, NOTRACK)] : []),
    ...parentReturns(tunnel, beside),
    ...containerInterfaceDrops(input),
    ...UPLINKS.map((name) => rule({ inputInterface: name }, RETURN)),
    ...sourceDrops(family),
  ];
}

function sourceChecks(input: FirewallInput, family: Family, tunnel: TunnelInput): Rule[] {
  if (knownSourcesOf(input, family, tunnel) === null) return [];
  const named = tunnel.isOfNamedNetworks ? { isNamedVni: family } : {};
  return [rule({ ...named, isFromUnknownSource: true }, DROP)];
}

/**
 * Drops what the kernel delivers to the tunnel's port without being addressed to the tunnel: VXLAN sockets are bound to
 * no address, so they receive broadcast, multicast and anycast as well. Only delivered packets pass here. In front of
 * routing, a multicast frame between two ports of a bridge (net.bridge.bridge-nf-call-iptables) looks the same.
 *
 * An IPIP device takes packets to its own address only, and those to others may be for another program's device.
 */
function tunnelLocalRules(tunnel: TunnelInput, beside: readonly TunnelInput[]): Rule[] {
  if ("protocol" in tunnel) return [];
  return [
    ...returnsOf([...tunnel.aliases, ...foreignAddresses(tunnel, beside)]),
    rule({ destination: outside(hostPrefix(tunnel.address)) }, DROP),
  ];
}

function returnsOf(destinations: readonly Address[]): Rule[] {
  return destinations.map((each) => rule({ destination: inside(hostPrefix(each)) }, RETURN));
}

/** The interfaces of all tunnels of the port: none of them is a place of containers, also when it is a bridge. */
function parentReturns(tunnel: TunnelInput, beside: readonly TunnelInput[]): Rule[] {
  const names = [tunnel, ...beside].map(({ parentInterface }) => parentInterface);
  return [...new Set(names)].map((inputInterface) => rule({ inputInterface }, RETURN));
}

/** Tunnels of other networks whose packets arrive by the same UDP port, or with the same protocol. */
function tunnelsBeside(
  { beside = [] }: FirewallInput,
  family: Family,
  tunnel: TunnelInput,
): readonly TunnelInput[] {
  const others = beside.flatMap(({ tunnels }) => tunnels[family] ?? []);
  return others.filter((other) =>
    "port" in tunnel ? "port" in other && other.port === tunnel.port : "protocol" in other,
  );
}

function addressesOf({ address, aliases }: TunnelInput): readonly Address[] {
  return [address, ...aliases];
}

/** Where packets arrive for other tunnels, but not for this one. */
function foreignAddresses(tunnel: TunnelInput, beside: readonly TunnelInput[]): readonly Address[] {
  const own = addressesOf(tunnel);
  const others = beside.flatMap(addressesOf).filter((other) => !own.some((each) => each.equals(other)));
  return distinct(others);
}

/** Networks with a common address cannot tell each other's packets apart: who may send to one may send to both. */
function knownSourcesOf(
  input: FirewallInput,
  family: Family,
  tunnel: TunnelInput,
): readonly Address[] | null {
  if (tunnel.isOfNamedNetworks) return tunnel.sources === "any" ? null : tunnel.sources;
  const own = addressesOf(tunnel);
  const sharing = tunnelsBeside(input, family, tunnel).filter((other) =>
    addressesOf(other).some((address) => own.some((each) => each.equals(address))),
  );
  const sources: Address[] = [];
  for (const each of [tunnel, ...sharing]) {
    if (each.sources === "any") return null;
    sources.push(...each.sources);
  }
  return sharing.length === 0 ? sources : distinct(sources);
}

function distinct(addresses: readonly Address[]): readonly Address[] {
  return [...new Map(addresses.map((address) => [address.toString(), address])).values()];
}

/**
 * Tunnel packets that containers send through this host: masqueraded they would look like this host's own, so
 * they are dropped where they would leave. Traffic between nested hosts on one bridge is not affected.
 */
function tunnelForwardRules(input: FirewallInput, family: Family, tunnel: TunnelInput): Rule[] {
  return [
    ...containerAddresses(input, family).map((source) => rule(source, DROP)),
    ...parentReturns(tunnel, tunnelsBeside(input, family, tunnel)),
    ...containerInterfaceDrops(input),
  ];
}

function mssClampRules({ mssClamp }: FirewallInput, { device }: TunnelInput): Rule[] {
  return mssClamp ? [rule({ outputInterface: device, isTcpSyn: true }, { do: "clamp-mss" })] : [];
}

/** Every packet of the host passes; most are not tunnel packets and cost one test. */
function gatesOf(tunnel: TunnelInput): FamilyRules["gates"] {
  const packets = packetsOf(tunnel);
  return {
    "tunnel-in": packets,
    "tunnel-out": packets,
    "tunnel-forward": { outputInterface: tunnel.parentInterface, ...packets },
    "tunnel-local": packets,
  };
}

/** One for each port or protocol, which several tunnels may share. */
function acceptRules(tunnels: readonly TunnelInput[]): Rule[] {
  const packets = new Map(tunnels.map((each) => [JSON.stringify(packetsOf(each)), packetsOf(each)]));
  return [...packets.values()].map((each) => rule(each, ACCEPT));
}

function packetsOf(tunnel: TunnelInput): Pick<Matches, "udpPort" | "protocol"> {
  return "protocol" in tunnel ? { protocol: tunnel.protocol } : { udpPort: tunnel.port };
}

/** Packets that only pass through this host. The lookup in the routing table is the most expensive test: last, if at all. */
function notForTunnel({ address, aliases }: TunnelInput): Matches {
  const destination = outside(hostPrefix(address));
  return aliases.length === 0 ? { destination } : { destination, isNotLocal: true };
}

function hostPrefix(address: Address): Prefix {
  return Prefix.of(address, ADDRESS_BITS[address.family]);
}

/** A packet from a container's address is a container's, whatever way it came. */
function containerAddresses({ containers, beside = [] }: FirewallInput, family: Family): Matches[] {
  const ranges = [containers, ...beside.map((other) => other.containers)];
  return ranges.flatMap((each) => each[family] ?? []).map((range) => ({ source: inside(range) }));
}

/** Drops what comes in where containers sit. The tunnel's own interface is exempt before, also when it is a bridge. */
function containerInterfaceDrops({ containerInterfaces }: FirewallInput): Rule[] {
  return containerInterfaces.map((name) => rule({ inputInterface: name }, DROP));
}

/**
 * Drops what containers send to the tunnel port with a forged source. A container's own address is inside the network;
 * so a forged one either has its route by another interface, or is link-local.
 */
function sourceDrops(family: Family): Rule[] {
  const linkLocal = inside(Prefix.parse(LINK_LOCAL_PREFIX[family]));
  return [rule({ source: linkLocal }, DROP), rule({ isOffPath: true }, DROP)];
}

/** An exclusion wider than the network works as meant: what goes to the network itself is not masqueraded anyway. */
function warningsFor(input: FirewallInput): string[] {
  return input.masquerade.excluded.flatMap((prefix) => {
    const network = input.networks[prefix.family];
    if (network !== undefined && !network.contains(prefix)) return [];
    const reason =
      network === undefined
        ? `the network has no IPv${prefix.family} range`
        : `it lies inside the network ${network}, where containers keep their addresses anyway`;
    return [`masquerade exclusion ${prefix} has no effect: ${reason}`];
  });
}

const ACCEPT: Action = { do: "accept" };
const DROP: Action = { do: "drop" };
const RETURN: Action = { do: "return" };
const NOTRACK: Action = { do: "notrack" };

function rule(matches: Matches, action: Action): Rule {
  return { matches, action };
}

function inside(prefix: Prefix): PrefixMatch {
  return { prefix, isNegated: false };
}

function outside(prefix: Prefix): PrefixMatch {
  return { prefix, isNegated: true };
}

/**
 * True when a host without any firewall tool cannot do what the settings require. Accepting what is forwarded needs no
 * tool where nothing filters, and the rest only makes a working network better.
 */
export function requiresEngine({ rules }: FirewallPlan): boolean {
  return Object.values(rules).some(
    ({ chains, knownSources }) =>
      knownSources !== null ||
      chains.masquerade?.length ||
      chains["mss-clamp"]?.length ||
      chains["container-in"]?.length ||
      chains["bridge-in"]?.length ||
      chains.forward?.some(({ action }) => action.do === "drop"),
  );
}
