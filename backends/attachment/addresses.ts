/** Addresses on devices: adding them, and which of those present are in the way. */

import { type InterfaceAddress, Prefix } from "../../ipam/addresses/ip.ts";
import {
  decodeAddress,
  encodeAddressDump,
  encodeNewAddress,
  IFA_F_NODAD,
  type KernelAddress,
} from "../netlink/address.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import type { Link } from "../netlink/link/link.ts";
import { ignoring } from "./links.ts";

/**
 * `ip address add ADDRESS/LENGTH brd + dev DEVICE nodad`; present is a success. Addresses here are reserved, so that
 * duplicate address detection, which takes a second, has nothing to find.
 */
export function addAddress(connection: NetlinkConnection, device: Link, wanted: InterfaceAddress): void {
  const { address, length } = wanted;
  const subnet = Prefix.of(address, length);
  const hasBroadcast = address.family === 4 && subnet.size > 2n;
  const spec = {
    interfaceIndex: device.index,
    address,
    length,
    ...(hasBroadcast && { broadcast: subnet.last }),
    ...(address.family === 6 && { flags: IFA_F_NODAD }),
  };
  ignoring(["EEXIST"], () => connection.request(encodeNewAddress(spec)));
}

/** All addresses of the namespace except those that the kernel makes itself, as link-local ones of IPv6. */
export function allAddresses(connection: NetlinkConnection): readonly KernelAddress[] {
  return connection
    .dump(encodeAddressDump(), decodeAddress)
    .filter(({ address }) => !(address.family === 6 && address.isLinkLocal) && !address.isLoopback);
}

export function ofDevice(addresses: readonly KernelAddress[], device: Link): readonly KernelAddress[] {
  return addresses.filter(({ interfaceIndex }) => interfaceIndex === device.index);
}

/**
 * Those of a gateway's device's other addresses that exclude `wanted`: any of IPv4; of IPv6 overlapping ones, and those
 * of `network`, whose route would take what is for another host that has the subnet by now.
 */
export function excludedBy(
  others: readonly KernelAddress[],
  wanted: InterfaceAddress,
  network: readonly Prefix[],
): readonly KernelAddress[] {
  const { family } = wanted.address;
  const subnet = Prefix.of(wanted.address, wanted.length);
  return others.filter(
    (entry) =>
      entry.address.family === family &&
      (family === 4 ||
        Prefix.of(entry.address, entry.length).overlaps(subnet) ||
        network.some((range) => range.contains(entry.address))),
  );
}

export function without<T extends InterfaceAddress>(
  present: readonly T[],
  wanted: readonly InterfaceAddress[],
): readonly T[] {
  return present.filter((entry) => !wanted.some((each) => isSame(entry, each)));
}

/**
 * Addresses of other devices that make a route to the subnet of `wanted` or to a part of it, where the kernel would
 * deliver packets for the bridge's containers, or that are the gateway's own. Other single addresses, such as the tunnel
 * device's, and wider subnets, which lose to the bridge's route, do no harm.
 */
export function competingWith(
  all: readonly KernelAddress[],
  deviceIndex: number | null,
  wanted: InterfaceAddress,
): readonly KernelAddress[] {
  const subnet = Prefix.of(wanted.address, wanted.length);
  return all.filter(({ interfaceIndex, address, length }) => {
    const other = Prefix.of(address, length);
    const isInTheWay = subnet.contains(other) && (other.size > 1n || address.equals(wanted.address));
    return interfaceIndex !== deviceIndex && isInTheWay;
  });
}

export function isSame(left: InterfaceAddress, right: InterfaceAddress): boolean {
  return left.length === right.length && left.address.equals(right.address);
}
