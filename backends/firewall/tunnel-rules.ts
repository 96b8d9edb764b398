/** The rules of tunnel packets: who may send them, and how they pass through this host. Pure and total. */

import { ADDRESS_BITS, type Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallInput, TunnelInput } from "./plan-input.ts";
import { ACCEPT, DROP, inside, NOTRACK, outside, RETURN, rule } from "./rule-parts.ts";
import { type FamilyRules, LINK_LOCAL_PREFIX, type Matches, type Rule } from "./rules.ts";

/**
 * Names that systemd and the kernel give to what leads out of a host, and to bundles of it. Packets may come in by any
 * of them: where a host has several in one segment, the neighbours choose (arp_announce in the kernel's ip-sysctl).
 */
const UPLINKS: readonly string[] = ["e*", "ib*", "wl*", "ww*", "bond*", "team*"];

/** One for each port or protocol, which several tunnels may share. */
export function acceptRules(tunnels: readonly TunnelInput[]): Rule[] {
  const packets = new Map(tunnels.map((each) => [JSON.stringify(packetsOf(each)), packetsOf(each)]));
  return [...packets.values()].map((each) => rule(each, ACCEPT));
}

export function mssClampRules({ mssClamp }: FirewallInput, { device }: TunnelInput): Rule[] {
  return mssClamp ? [rule({ outputInterface: device, isTcpSyn: true }, { do: "clamp-mss" })] : [];
}

/** The chains of a tunnel whose senders are judged; without rules where there is none. */
export function tunnelChains(
  input: FirewallInput,
  family: Family,
  tunnel: TunnelInput | undefined,
): Record<"tunnel-in" | "tunnel-out" | "tunnel-forward" | "tunnel-local", readonly Rule[]> {
  if (tunnel === undefined)
    return { "tunnel-in": [], "tunnel-out": [], "tunnel-forward": [], "tunnel-local": [] };
  return {
    "tunnel-in": tunnelInRules(input, family, tunnel),
    "tunnel-out": input.notrack ? [rule({}, NOTRACK)] : [],
    "tunnel-forward": tunnelForwardRules(input, family, tunnel),
    "tunnel-local": tunnelLocalRules(tunnel, tunnelsBeside(input, family, tunnel)),
  };
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

/** Every packet of the host passes; most are not tunnel packets and cost one test. */
export function tunnelGates(tunnel: TunnelInput): FamilyRules["gates"] {
  const packets = packetsOf(tunnel);
  return {
    "tunnel-in": packets,
    "tunnel-out": packets,
    "tunnel-forward": { outputInterface: tunnel.parentInterface, ...packets },
    "tunnel-local": packets,
  };
}

/** Networks with a common address cannot tell each other's packets apart: who may send to one may send to both. */
export function knownSourcesOf(
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

/** Packets that only pass through this host. The lookup in the routing table is the most expensive test: last, if at all. */
function notForTunnel({ address, aliases }: TunnelInput): Matches {
  const destination = outside(hostPrefix(address));
  return aliases.length === 0 ? { destination } : { destination, isNotLocal: true };
}

function packetsOf(tunnel: TunnelInput): Pick<Matches, "udpPort" | "protocol"> {
  return "protocol" in tunnel ? { protocol: tunnel.protocol } : { udpPort: tunnel.port };
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

function distinct(addresses: readonly Address[]): readonly Address[] {
  return [...new Map(addresses.map((address) => [address.toString(), address])).values()];
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

function hostPrefix(address: Address): Prefix {
  return Prefix.of(address, ADDRESS_BITS[address.family]);
}
