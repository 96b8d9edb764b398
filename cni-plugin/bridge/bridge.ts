/** The bridge that the containers of a network share, and the gateway's addresses on it. */

import { readFileSync } from "node:fs";
import {
  decodeAddress,
  encodeAddressDump,
  encodeDeleteAddress,
  encodeNewAddress,
  IFA_F_NODAD,
  type KernelAddress,
} from "../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import {
  decodeLink,
  encodeLinkDump,
  encodeNewLink,
  encodeSetLink,
  IFF_PROMISC,
  type Link,
} from "../../backends/netlink/link/link.ts";
import { type Family, type InterfaceAddress, Prefix } from "../../ipam/addresses/ip.ts";
import { localMacFromSeed } from "../../ipam/addresses/mac.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import type { Allocation } from "../ipam/ranges.ts";
import { findLink, getLink, ignoring, isErrno } from "./links.ts";
import { type BridgeOptions, usesVlans } from "./options.ts";
import { ensureSysctl, ensureSysctlIfPresent } from "./sysctl.ts";

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "ipv4/ip_forward",
  6: "ipv6/conf/all/forwarding",
};

/** Finds or makes the bridge and raises it. Throws CniError 100 when the name belongs to another kind of device. */
export function ensureBridge(host: NetlinkConnection, options: BridgeOptions): Link {
  const bridge = findLink(host, options.bridge) ?? createBridge(host, options);
  if (bridge.type !== "bridge") {
    throw new CniError(
      CNI_CODES.attachFailed,
      `"${bridge.name}" exists but is no bridge; remove it or set "bridge"`,
    );
  }
  const wantsPromiscuous = options.promiscMode && (bridge.flags & IFF_PROMISC) === 0;
  if (!bridge.isUp || wantsPromiscuous) {
    host.request(
      encodeSetLink(bridge.index, { isUp: true, ...(wantsPromiscuous && { isPromiscuous: true }) }),
    );
  }
  if (usesVlans(options) && bridge.bridge?.vlanFiltering !== true) enableVlans(host, bridge);
  return bridge;
}

/** `ip link set BRIDGE type bridge vlan_filtering 1`. Throws CniError 100 on kernels without. */
function enableVlans(host: NetlinkConnection, { name }: Link): void {
  try {
    host.request(encodeNewLink({ name, info: { kind: "bridge", vlanFiltering: true } }, 0));
  } catch (cause) {
    if (!isErrno(cause, "EOPNOTSUPP")) throw cause;
    throw new CniError(
      CNI_CODES.attachFailed,
      "this kernel's bridges know no VLANs",
      "leave vlan and vlanTrunk out, or use a kernel with CONFIG_BRIDGE_VLAN_FILTERING",
      { cause },
    );
  }
}

/**
 * The hardware address is given at creation: one that the kernel chose would follow the ports, and every container
 * would have to resolve its gateway anew whenever another one starts or stops. Given later, while the bridge is
 * down, it leaves the operational state at "unknown".
 */
function createBridge(host: NetlinkConnection, { bridge: name, mtuBytes }: BridgeOptions): Link {
  const size = mtuBytes > 0 ? { mtuBytes } : {};
  const mac = localMacFromSeed(randomSeed());
  ignoring(["EEXIST"], () => host.request(encodeNewLink({ name, mac, ...size, info: { kind: "bridge" } })));
  // Routes on this device are ours alone to make.
  ensureSysctlIfPresent(`ipv6/conf/${name}/accept_ra`, "0");
  return getLink(host, name);
}

/** Six random bytes from the kernel (random(4)): loading Node's library for them would take milliseconds. */
function randomSeed(): Uint8Array {
  const uuid = readFileSync("/proc/sys/kernel/random/uuid", "utf8").replaceAll("-", "");
  return Buffer.from(uuid.slice(0, 12), "hex");
}

/**
 * Gives `device`, the bridge or its VLAN interface, the gateway's addresses and lets the host forward.
 * Throws CniError 100 when it holds an address of another subnet and containers still use it.
 */
export function ensureGateway(
  host: NetlinkConnection,
  device: Link,
  allocations: readonly Allocation[],
  force: boolean,
): void {
  const present = addressesOf(host, device);
  for (const { address, gateway } of allocations) {
    const wanted = { address: gateway, length: address.length };
    if (!present.some((entry) => isSame(entry, wanted))) {
      for (const rival of rivalsOf(present, wanted)) removeRival(host, device, rival, wanted, force);
      ignoring(["EEXIST"], () =>
        host.request(encodeNewAddress({ interfaceIndex: device.index, ...wanted, flags: IFA_F_NODAD })),
      );
    }
    ensureSysctl(FORWARDING[gateway.family], "1");
  }
}

/** True when the host passes packets of this family on. */
export function isForwarding(family: Family): boolean {
  return readFileSync(`/proc/sys/net/${FORWARDING[family]}`, "utf8").trim() === "1";
}

/** The device's addresses but for those that the kernel makes itself. */
export function addressesOf(host: NetlinkConnection, device: Link): readonly KernelAddress[] {
  return host
    .dump(encodeAddressDump(device.index), decodeAddress)
    .filter((entry) => entry.interfaceIndex === device.index && !entry.address.isLinkLocal);
}

/** Addresses that stand in the way: any other of IPv4, overlapping ones of IPv6, where several are usual. */
export function rivalsOf(
  present: readonly KernelAddress[],
  wanted: InterfaceAddress,
): readonly KernelAddress[] {
  const { family } = wanted.address;
  const subnet = Prefix.of(wanted.address, wanted.length);
  return present.filter(
    (entry) =>
      entry.address.family === family &&
      !isSame(entry, wanted) &&
      (family === 4 || Prefix.of(entry.address, entry.length).overlaps(subnet)),
  );
}

export function isSame(left: InterfaceAddress, right: InterfaceAddress): boolean {
  return left.length === right.length && left.address.equals(right.address);
}

/** How many devices are ports of the bridge. */
export function countPorts(host: NetlinkConnection, bridge: Link): number {
  const ports = host.dump(encodeLinkDump({ masterIndex: bridge.index }), decodeLink);
  return ports.filter(({ masterIndex }) => masterIndex === bridge.index).length;
}

function removeRival(
  host: NetlinkConnection,
  device: Link,
  old: KernelAddress,
  wanted: InterfaceAddress,
  force: boolean,
): void {
  const containers = force ? 0 : countPorts(host, device);
  const { address, length } = old;
  if (containers > 0) {
    throw new CniError(
      CNI_CODES.attachFailed,
      `${device.name} holds ${address}/${length} but this host's subnet now needs ${wanted.address}/${wanted.length}`,
      `${containers} containers still use the old subnet: stop them, or move them away, and try again; "forceAddress": true changes the address under them`,
    );
  }
  ignoring(["EADDRNOTAVAIL"], () =>
    host.request(encodeDeleteAddress({ interfaceIndex: device.index, address, length })),
  );
}
