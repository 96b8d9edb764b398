/**
 * Devices, addresses and routes of a lab, by netlink: what `ip link`, `ip address` and `ip route` would do.
 *
 * Synchronous, but for deleting a device, over which the kernel takes its time.
 */

import { encodeNewAddress, IFA_F_NODAD } from "../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import {
  decodeLink,
  encodeDeleteLink,
  encodeGetLink,
  encodeNewLink,
  encodeSetLink,
  type LinkChanges,
  type LinkSpec,
} from "../../backends/netlink/link/link.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { encodeNewRoute } from "../../backends/netlink/route.ts";
import { Address, Prefix, parseInterfaceAddress } from "../../ipam/addresses/ip.ts";

/** The network of one namespace. Its methods throw NetlinkError. */
export class Network {
  readonly #connection: NetlinkConnection;

  constructor(connection: NetlinkConnection) {
    this.#connection = connection;
  }

  addBridge(name: string, mtuBytes: number): void {
    this.#add({ name, mtuBytes, isUp: true, info: { kind: "bridge" } });
  }

  /** A pair of devices; the second end is in the namespace of `peer.path`, and down. */
  addVeth(name: string, mtuBytes: number, peer: { readonly name: string; readonly path: string }): void {
    const netns = NetnsHandle.open(peer.path);
    try {
      const peerEnd = { name: peer.name, mtuBytes, netnsFd: netns.fd };
      this.#add({ name, mtuBytes, info: { kind: "veth", peer: peerEnd } });
    } finally {
      netns.close();
    }
  }

  setLink(name: string, changes: LinkChanges): void {
    this.#connection.request(encodeSetLink(this.#indexOf(name), changes));
  }

  /** Makes the device a port of the bridge, and up. */
  attach(name: string, bridge: string): void {
    this.setLink(name, { masterIndex: this.#indexOf(bridge), isUp: true });
  }

  /** `address` with its prefix length, such as `192.168.50.11/24`; usable at once. */
  addAddress(name: string, address: string): void {
    const own = parseInterfaceAddress(address);
    const interfaceIndex = this.#indexOf(name);
    const more =
      own.address.family === 4
        ? { broadcast: Prefix.of(own.address, own.length).last }
        : { flags: IFA_F_NODAD };
    this.#connection.request(encodeNewAddress({ ...own, ...more, interfaceIndex }));
  }

  addDefaultRoute(gateway: Address): void {
    const destination = Prefix.of(Address.of(gateway.family, 0n), 0);
    this.#connection.request(encodeNewRoute({ destination, gateway }));
  }

  #add(spec: LinkSpec): void {
    this.#connection.request(encodeNewLink(spec));
  }

  #indexOf(name: string): number {
    return this.#connection.get(encodeGetLink({ name }), decodeLink).index;
  }
}

/** Opens the network of the namespace at `path`, runs `body` and returns what it returns. */
export function inNetwork<T>(path: string, body: (network: Network) => T): T {
  const connection = connect(path);
  try {
    return body(new Network(connection));
  } finally {
    connection.close();
  }
}

/** Deletes a device of the namespace at `path` without blocking the event loop. */
export async function deleteLink(path: string, name: string): Promise<void> {
  const connection = connect(path);
  try {
    await connection.requestAsync(encodeDeleteLink({ name }));
  } finally {
    connection.close();
  }
}

function connect(path: string): NetlinkConnection {
  const netns = NetnsHandle.open(path);
  try {
    return NetlinkConnection.open({ netns });
  } finally {
    netns.close();
  }
}
