/** The bridge that the containers of a network share, and the gateway's addresses on it. */

import { readFileSync } from "node:fs";
import type { InterfaceAddress } from "../../ipam/addresses/ip.ts";
import { ConflictError, hasCode } from "../../ipam/errors.ts";
import { encodeDeleteAddress, type KernelAddress } from "../netlink/address.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { alternativeNameRemedy } from "../netlink/link/alternative-name.ts";
import {
  decodeLink,
  encodeGetLink,
  encodeLinkDump,
  encodeNewLink,
  encodeSetLink,
  IFF_PROMISC,
  type Link,
} from "../netlink/link/link.ts";
import { addAddress, allAddresses, competingWith, excludedBy, ofDevice, without } from "./addresses.ts";
import { ensureForwarding } from "./forwarding.ts";
import { findLink, getLink, ignoring, isErrno } from "./links.ts";
import { randomMacs } from "./mac.ts";
import { type BridgeSpec, type GatewaySpec, usesVlans, type VlanSpec } from "./spec.ts";
import { preferSysctl } from "./sysctl.ts";

/** linux/netdevice.h: the address was set by a person or a program. */
const NET_ADDR_SET = "3";

/** Finds or creates the bridge and raises it. Throws ConflictError when the name belongs to another kind of device. */
export function ensureBridge(
  host: NetlinkConnection,
  spec: BridgeSpec,
  mtuBytes: number,
  vlans: VlanSpec,
): Link {
  const bridge = findLink(host, spec.name) ?? createBridge(host, spec.name, mtuBytes);
  if (bridge.type !== "bridge") throw noBridge(spec.name, bridge);
  const wantsPromiscuous = spec.isPromiscuous && (bridge.flags & IFF_PROMISC) === 0;
  if (!bridge.isUp || wantsPromiscuous) {
    host.request(
      encodeSetLink(bridge.index, { isUp: true, ...(wantsPromiscuous && { isPromiscuous: true }) }),
    );
  }
  if (usesVlans(vlans) && bridge.bridge?.vlanFiltering !== true) enableVlans(host, bridge);
  // Routes on the gateway's device are the network's alone to make.
  if (spec.gateway !== null) preferSysctl(`ipv6/conf/${spec.name}/accept_ra`, "0");
  return bridge;
}

function noBridge(name: string, { name: device }: Link): ConflictError {
  if (device !== name) return new ConflictError(alternativeNameRemedy(name, device));
  return new ConflictError(`"${name}" exists but is not a bridge; remove it or set "bridge"`);
}

/**
 * Keeps the bridge's hardware address as it is. One that the kernel chose follows the ports: each container that starts
 * or stops could change it, and all others would have to resolve their gateway again.
 */
export function pinHardwareAddress(host: NetlinkConnection, bridge: Link): void {
  if (bridge.mac !== null) host.request(encodeSetLink(bridge.index, { mac: bridge.mac }));
}

/**
 * False when the kernel or udev may change the bridge's hardware address. Only sysfs tells, and sysfs may be absent or
 * that of another namespace: then the answer is true, because setting the address clears the bridge's neighbours.
 */
export function isPinned(bridge: Link): boolean {
  const folder = `/sys/class/net/${bridge.name}`;
  try {
    const read = (file: string) => readFileSync(`${folder}/${file}`, "utf8").trim();
    const isOfThisNamespace = read("ifindex") === String(bridge.index) && read("address") === bridge.mac;
    return !isOfThisNamespace || read("addr_assign_type") === NET_ADDR_SET;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return true;
    throw error;
  }
}

/**
 * The bridge after a port has joined. If it took the port's hardware address and the bridge is the network's, the former
 * one is set back, for good.
 */
export function settleBridge(host: NetlinkConnection, former: Link, { gateway }: BridgeSpec): Link {
  const bridge = host.get(encodeGetLink({ index: former.index }), decodeLink);
  if (gateway === null || bridge.mac === former.mac) return bridge;
  pinHardwareAddress(host, former);
  return { ...bridge, mac: former.mac };
}

/** `ip link set BRIDGE type bridge vlan_filtering 1`. Throws ConflictError on kernels without. */
function enableVlans(host: NetlinkConnection, { name }: Link): void {
  try {
    host.request(encodeNewLink({ name, info: { kind: "bridge", vlanFiltering: true } }, 0));
  } catch (cause) {
    if (!isErrno(cause, "EOPNOTSUPP")) throw cause;
    throw new ConflictError("this kernel's bridges do not support VLANs", {
      cause,
      details: {
        remedy: "leave vlan and vlanTrunk out, or use a kernel with CONFIG_BRIDGE_VLAN_FILTERING",
      },
    });
  }
}

/** A hardware address that is set later, while the bridge is down, leaves the operational state at "unknown". */
function createBridge(host: NetlinkConnection, name: string, mtuBytes: number): Link {
  const [mac] = randomMacs();
  const size = mtuBytes > 0 ? { mtuBytes } : {};
  ignoring(["EEXIST"], () => host.request(encodeNewLink({ name, mac, ...size, info: { kind: "bridge" } })));
  return getLink(host, name);
}

/**
 * Gives `device`, `bridge` itself or its VLAN interface, the gateways' addresses and lets the host forward. Returns whether
 * an address was missing. Throws ConflictError when another device has the subnet, or when this one has another subnet that containers still use.
 */
export function ensureGateways(
  host: NetlinkConnection,
  bridge: Link,
  device: Link,
  gateways: readonly InterfaceAddress[],
  { force, network }: GatewaySpec,
): boolean {
  const all = allAddresses(host);
  for (const gateway of gateways) {
    const conflict = findSubnetConflict(host, device.name, device.index, all, gateway);
    if (conflict !== null) throw conflict;
  }
  const present = ofDevice(all, device);
  const missing = without(gateways, present);
  for (const gateway of missing) {
    const formers = excludedBy(without(present, gateways), gateway, network);
    const containers = force || formers.length === 0 ? 0 : countPorts(host, bridge, device);
    // The containers may be of another ADD, which has replaced the former addresses since they were read.
    const left = containers === 0 ? formers : formersNow(host, device, formers);
    for (const former of left) removeFormer(host, device, former, gateway, containers);
    addAddress(host, device, gateway);
  }
  for (const { address } of gateways) ensureForwarding(host, address.family);
  return missing.length > 0;
}

/** Another device that has the subnet of `gateway`, which is meant for this device; null if there is none. */
export function findSubnetConflict(
  host: NetlinkConnection,
  deviceName: string,
  deviceIndex: number | null,
  all: readonly KernelAddress[],
  gateway: InterfaceAddress,
): ConflictError | null {
  const [other] = competingWith(all, deviceIndex, gateway);
  if (other === undefined) return null;
  const { name } = host.get(encodeGetLink({ index: other.interfaceIndex }), decodeLink);
  return new ConflictError(
    `${name} holds ${other.address}/${other.length}, which collides with ${gateway.address}/${gateway.length} for ${deviceName}: packets would reach containers of one only`,
    {
      details: {
        remedy: `give ${name} another subnet, or delete its address with "ip address del ${other.address}/${other.length} dev ${name}"`,
      },
    },
  );
}

/** How many devices are ports of the bridge, the port of its VLAN interface `gateway` left out. */
export function countPorts(host: NetlinkConnection, bridge: Link, gateway = bridge): number {
  const links = host.dump(encodeLinkDump({ masterIndex: bridge.index }), decodeLink);
  const ports = links.filter(({ masterIndex }) => masterIndex === bridge.index);
  return ports.filter(({ index }) => index !== gateway.linkIndex).length;
}

function formersNow(
  host: NetlinkConnection,
  device: Link,
  formers: readonly KernelAddress[],
): readonly KernelAddress[] {
  const present = ofDevice(allAddresses(host), device);
  return formers.filter((former) => without([former], present).length === 0);
}

function removeFormer(
  host: NetlinkConnection,
  device: Link,
  former: KernelAddress,
  wanted: InterfaceAddress,
  containers: number,
): void {
  const { address, length } = former;
  if (containers > 0) {
    throw new ConflictError(
      `${device.name} holds ${address}/${length} but this host's subnet now needs ${wanted.address}/${wanted.length}`,
      {
        details: {
          remedy: `${containers} containers still use the old subnet: stop them, or move them away, and try again; "forceAddress": true changes the address under them`,
        },
      },
    );
  }
  ignoring(["EADDRNOTAVAIL"], () =>
    host.request(encodeDeleteAddress({ interfaceIndex: device.index, address, length })),
  );
}
