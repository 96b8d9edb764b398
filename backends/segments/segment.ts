/** The devices of one named network on this host, and what each member of it adds to them. Pure. */

import type { Address } from "../../ipam/addresses/ip.ts";
import { entriesOf, type Family, type PerFamily } from "../../ipam/addresses/ip.ts";
import { isInterfaceMac, type Mac } from "../../ipam/addresses/mac.ts";
import type { HostId, Member, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { Uplink } from "../backend.ts";
import { IPV6_MIN_MTU_BYTES } from "../mtu.ts";
import { DEFAULT_PORT, type PortSettings } from "../state/kinds/bridge-port.ts";
import { ALL_ZERO_MAC } from "../state/kinds/fdb.ts";
import type { LinkObject } from "../state/kinds/link.ts";
import type { KernelObject } from "../state/kinds/registry.ts";
import type { SysctlObject } from "../state/kinds/sysctl.ts";
import { type SegmentDevices, segmentDevices, segmentPortName } from "./names.ts";

/** What a plan must know of this host. */
export interface SegmentFacts {
  readonly host: HostId;
  /** By which tunnel packets leave. */
  readonly uplinks: PerFamily<Uplink>;
  /** False where the kernel runs without IPv6. */
  readonly hasIpv6: boolean;
  /** UDP port of all VXLAN devices. */
  readonly port: number;
  /** The hardware address of a device of ours: derived from the host's identity, the same in every run. */
  macFor(device: string): Mac;
}

/** Where a segment's tunnel packets go, and how large the frames inside may be. */
export interface Underlay {
  readonly family: Family;
  readonly uplink: Uplink;
  /** Of the devices and of containers. */
  readonly mtuBytes: number;
  /** False where the kernel has no IPv6, or none on devices with this MTU. */
  readonly runsIpv6: boolean;
  /** Why containers get less than the network asks for, or have no IPv6; null when all is as asked. */
  readonly problem: string | null;
}

/** Outer IP header, UDP 8, VXLAN 8, inner Ethernet 14. */
const OVERHEAD_BYTES: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** linux/Documentation/networking/ip-sysctl: answer no ARP request for an address of this host. */
const ARP_IGNORE_ALL = "8";

/** The same: no link-local address. */
const ADDR_GEN_NONE = "1";

/** The interface of all tunnels, of one outer family, as a VXLAN device has one; null without any. */
export function tunnelUplink({ uplinks }: Pick<SegmentFacts, "uplinks">): Uplink | null {
  return uplinks[4] ?? uplinks[6] ?? null;
}

/** Null without an interface for tunnels. */
export function underlayOf(network: NamedNetwork, facts: SegmentFacts): Underlay | null {
  const uplink = tunnelUplink(facts);
  if (uplink === null) return null;
  const { family } = uplink.address;
  const carriedBytes = uplink.mtuBytes - OVERHEAD_BYTES[family];
  const mtuBytes = Math.min(network.mtuBytes ?? carriedBytes, carriedBytes);
  return {
    ...{ family, uplink, mtuBytes },
    runsIpv6: facts.hasIpv6 && mtuBytes >= IPV6_MIN_MTU_BYTES,
    problem: mtuProblem(network, uplink.interface, carriedBytes),
  };
}

function mtuProblem({ mtuBytes, pools }: NamedNetwork, uplink: string, carriedBytes: number): string | null {
  const most = `${carriedBytes}, the most that ${uplink} carries beside the tunnel's headers`;
  if (pools[6] !== undefined && carriedBytes < IPV6_MIN_MTU_BYTES)
    return `its containers cannot have IPv6, which needs an MTU of ${IPV6_MIN_MTU_BYTES}: it is ${most}; raise the MTU of ${uplink}`;
  return mtuBytes !== null && mtuBytes > carriedBytes
    ? `its MTU ${mtuBytes} exceeds ${most}; containers get ${carriedBytes}`
    : null;
}

/** Bridge, VXLAN device and their settings, in the order of their dependence. */
export function planDevices(
  network: NamedNetwork,
  facts: SegmentFacts,
  underlay: Underlay,
): readonly KernelObject[] {
  const devices = segmentDevices(network.vni);
  return [
    ...linksOf(network, facts, underlay),
    ...segmentSettings(devices, underlay.runsIpv6),
    {
      kind: "bridge-port",
      device: devices.vxlan,
      bridge: devices.bridge,
      settings: tunnelSettings(network),
    },
  ];
}

/** With broadcast, what is sent to all hosts with members; the packets of unknown stations still go nowhere. */
function tunnelSettings({ hasBroadcast }: NamedNetwork): PortSettings {
  return {
    ...DEFAULT_PORT,
    learning: false,
    unicastFlood: false,
    multicastFlood: hasBroadcast,
    broadcastFlood: hasBroadcast,
    neighbourSuppression: true,
  };
}

const NO_LINK_LOCAL = { hasNoLinkLocal: true } as const;

function linksOf(
  { vni }: NamedNetwork,
  { port, macFor }: SegmentFacts,
  { mtuBytes, uplink, runsIpv6 }: Underlay,
): LinkObject[] {
  const { bridge, vxlan } = segmentDevices(vni);
  const common = {
    kind: "link",
    mtuBytes,
    isUp: true,
    isProvenByMac: true,
    ...(runsIpv6 ? NO_LINK_LOCAL : {}),
  } as const;
  const local = uplink.address;
  return [
    {
      ...common,
      name: bridge,
      type: "bridge",
      // A fixed one: a port with a lower one would change it, and the kernel then drops all neighbours.
      mac: macFor(bridge),
      details: { type: "bridge", multicastSnooping: false, stp: false, vlanFiltering: false },
    },
    {
      ...common,
      name: vxlan,
      type: "vxlan",
      mac: macFor(vxlan),
      details: { type: "vxlan", vni, local, parent: uplink.interface, port, learning: false, gbp: false },
    },
  ];
}

/**
 * The host itself takes no part in the network. IPv6 stays on for the bridge, or the kernel takes no neighbours there,
 * but without an address and deaf to routers.
 */
export function segmentSettings({ bridge, vxlan }: SegmentDevices, runsIpv6: boolean): SysctlObject[] {
  const set = (device: string, family: Family, name: string, value: string): SysctlObject => {
    return { kind: "sysctl", path: `net/ipv${family}/conf/${device}/${name}`, device, value };
  };
  const ipv4 = set(bridge, 4, "arp_ignore", ARP_IGNORE_ALL);
  if (!runsIpv6) return [ipv4];
  return [
    ipv4,
    set(bridge, 6, "addr_gen_mode", ADDR_GEN_NONE),
    set(bridge, 6, "accept_ra", "0"),
    set(vxlan, 6, "disable_ipv6", "1"),
  ];
}

/** The member of another host: where its frames go, and its addresses, so that nothing must be asked on the wire. */
export function planRemoteMember(
  { vni }: NamedNetwork,
  { mac, addresses }: Member,
  remote: Address,
  runsIpv6: boolean,
): readonly KernelObject[] {
  const { bridge, vxlan } = segmentDevices(vni);
  const objects: KernelObject[] = [
    { kind: "fdb", device: vxlan, mac, remote, isPermanent: true },
    { kind: "bridge-fdb", bridge, mac, device: vxlan, origin: "static" },
  ];
  for (const [family, address] of entriesOf(addresses)) {
    if (family === 4 || runsIpv6)
      objects.push({ kind: "neighbour", device: bridge, address, mac, isPermanent: true });
  }
  return objects.slice();
}

/** The port of a container of this host, which is put back when the bridge was made again. */
export function planLocalMember({ id, vni }: NamedNetwork, { endpoint }: Member): readonly KernelObject[] {
  const { bridge } = segmentDevices(vni);
  const device = segmentPortName(id, endpoint);
  return [{ kind: "bridge-port", device, bridge, settings: DEFAULT_PORT, isOptional: true }];
}

/** Sends broadcast and multicast frames to a host with members. */
export function planReplication({ vni }: NamedNetwork, remote: Address): readonly KernelObject[] {
  const { vxlan } = segmentDevices(vni);
  return [{ kind: "fdb", device: vxlan, mac: ALL_ZERO_MAC, remote, isPermanent: true }];
}

/** Why a member of another host is left out; null when it is not. The record is another host's, and may be wrong. */
export function memberProblem({ pools }: NamedNetwork, member: Member, local: LocalMembers): string | null {
  const { mac, addresses } = member;
  if (!isInterfaceMac(mac)) return `its hardware address ${mac} is none that a station can have`;
  if (local.macs.has(mac)) return `a container of this host has its hardware address ${mac}`;
  for (const [family, address] of entriesOf(addresses)) {
    const pool = pools[family];
    if (pool === undefined || !pool.subnet.contains(address))
      return `its address ${address} is outside the network`;
    if (local.addresses.has(address.toString())) return `a container of this host has its address ${address}`;
  }
  return null;
}

/** What the containers of this host have. */
export interface LocalMembers {
  readonly macs: ReadonlySet<Mac>;
  readonly addresses: ReadonlySet<string>;
}

export function localMembers(members: readonly Member[]): LocalMembers {
  return {
    macs: new Set(members.map(({ mac }) => mac)),
    addresses: new Set(members.flatMap(({ addresses }) => Object.values(addresses).map(String))),
  };
}
