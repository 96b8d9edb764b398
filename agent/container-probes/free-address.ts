/**
 * An address for a container of our own in a subnet whose addresses another program gives. Engines count from the first
 * one upwards, so ours is among the last, and the kernel asks the bridge whether a container has it.
 */

import { findLink } from "../../backends/attachment/links.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import {
  decodeNeighbour,
  encodeDeleteNeighbour,
  encodeGetNeighbour,
} from "../../backends/netlink/neighbour.ts";
import { EchoPort, HEADER_BYTES } from "../../backends/probe/echo-port.ts";
import type { Address, InterfaceAddress, Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import { TulleError } from "../../ipam/errors.ts";

/** How many addresses are tried. */
const MOST_TRIED = 8;
/** A container on the bridge answers within a millisecond. */
const ANSWER_MS = 200;
/** Addresses of a subnet that is large enough: its own, the gateway's, the broadcast address and some for containers. */
const LEAST_ADDRESSES = 8n;

export interface Surroundings {
  readonly bridge: string;
  /** Addresses of this host. */
  readonly taken: readonly Address[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Throws TULLE_CONFLICT when all that are tried are in use, and NetlinkError. */
export async function freeAddress(
  subnet: Prefix,
  { bridge, taken, clock, signal }: Surroundings,
): Promise<Address> {
  for (const address of lastAddresses(subnet)) {
    if (taken.some((one) => one.equals(address))) continue;
    if (!(await isInUse(bridge, address, () => clock.sleep(ANSWER_MS, signal)))) return address;
  }
  throw new TulleError(
    "TULLE_CONFLICT",
    `no address for a container of our own: the last ${MOST_TRIED} of ${subnet} are in use; remove a container`,
  );
}

/** Those before the last one, which is IPv4's broadcast address. Throws TULLE_CONFLICT for a subnet that is too small. */
export function lastAddresses(subnet: Prefix): readonly Address[] {
  requireRoom(subnet);
  return Array.from({ length: Math.min(MOST_TRIED, Number(subnet.size) - 4) }, (_, at) =>
    subnet.last.plus(-1 - at),
  );
}

/** The last two addresses that make a subnet of two (RFC 3021, RFC 6164), without the broadcast address. */
export function lastPair(subnet: Prefix): {
  readonly hostEnd: InterfaceAddress;
  readonly containerEnd: InterfaceAddress;
} {
  requireRoom(subnet);
  const length = subnet.family === 4 ? 31 : 127;
  return {
    hostEnd: { address: subnet.last.plus(-3), length },
    containerEnd: { address: subnet.last.plus(-2), length },
  };
}

function requireRoom(subnet: Prefix): void {
  if (subnet.size >= LEAST_ADDRESSES) return;
  throw new TulleError(
    "TULLE_CONFLICT",
    `subnet ${subnet} of this host is too small for a container of the measurement: leave --containers out`,
  );
}

/** Has the kernel ask the bridge who has an address. */
async function isInUse(bridge: string, address: Address, wait: () => Promise<void>): Promise<boolean> {
  const netlink = NetlinkConnection.open();
  try {
    const link = findLink(netlink, bridge);
    if (link === null) return false;
    const entry = { interfaceIndex: link.index, address };
    // The kernel would believe for a while in a container that is gone.
    forget(netlink, entry);
    ask(address, link.index);
    await wait();
    const mac = absentAs(null, () => netlink.get(encodeGetNeighbour(entry), decodeNeighbour).mac);
    // The entry of a failed search would stand in the way of the container that takes the address.
    if (mac === null) forget(netlink, entry);
    return mac !== null;
  } finally {
    netlink.close();
  }
}

function ask(address: Address, interfaceIndex: number): void {
  const port = EchoPort.open(address.family, 1);
  try {
    port.send(address, 0, HEADER_BYTES[address.family], { interfaceIndex, source: null });
  } catch (error) {
    // A bridge without containers leads nowhere: no container has the address.
    if (!(error instanceof NetlinkError)) throw error;
  } finally {
    port.close();
  }
}

/** Has the kernel ask again who has an address. Throws NetlinkError. */
export function forget(
  netlink: NetlinkConnection,
  entry: { readonly interfaceIndex: number; readonly address: Address },
): void {
  absentAs(undefined, () => netlink.request(encodeDeleteNeighbour(entry)));
}

/** `otherwise` where the kernel has no such entry. */
function absentAs<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof NetlinkError && error.errnoName === "ENOENT") return otherwise;
    throw error;
  }
}
