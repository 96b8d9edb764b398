/** What a kernel answers about the way of a packet, in one network namespace. Reads only. */

import { decodeAddress, encodeAddressDump, type KernelAddress } from "../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import {
  decodeFdb,
  decodeNeighbour,
  encodeBridgeFdbDump,
  encodeFdbDump,
  encodeNeighbourDump,
  type FdbEntry,
  type Neighbour,
} from "../../backends/netlink/neighbour.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { decodeNetnsId, encodeGetNetnsId } from "../../backends/netlink/netns-id.ts";
import {
  decodePath,
  decodeRoute,
  encodePathLookup,
  encodeRouteDump,
  encodeRouteLookup,
  type LookupOptions,
  type Path,
  type Route,
} from "../../backends/netlink/route.ts";
import { decodeRule, encodeRuleDump, type Rule } from "../../backends/netlink/rule.ts";
import { encodeFilterDump, type TrafficDirection } from "../../backends/netlink/traffic-filter.ts";
import { type Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";

/** A route as it is written, and how this packet takes it; or the kernel's error by name. */
export type Lookup =
  | { readonly type: "route"; readonly route: Route; readonly path: Path }
  | { readonly type: "error"; readonly errnoName: string };

export class KernelView {
  readonly #connection: NetlinkConnection;
  #links: readonly Link[] | null = null;

  constructor(connection: NetlinkConnection) {
    this.#connection = connection;
  }

  get links(): readonly Link[] {
    this.#links ??= this.#connection.dump(encodeLinkDump(), decodeLink);
    return this.#links;
  }

  link(index: number | null): Link | null {
    return this.links.find((link) => link.index === index) ?? null;
  }

  linkNamed(name: string): Link | null {
    return this.links.find((link) => link.name === name) ?? null;
  }

  addresses(): readonly KernelAddress[] {
    return this.#connection.dump(encodeAddressDump(), decodeAddress);
  }

  /** Whether a device has an address in a subnet with this one. */
  hasOnLink({ index }: Link, other: Address): boolean {
    return this.addresses().some(
      ({ interfaceIndex, address, length }) =>
        interfaceIndex === index && Prefix.of(address, length).contains(other),
    );
  }

  rules(family: Family): readonly Rule[] {
    return this.#connection.dump(encodeRuleDump(family), decodeRule);
  }

  routes(family: Family): readonly Route[] {
    return this.#connection.dump(encodeRouteDump(family), decodeRoute);
  }

  lookup(address: Address, options: LookupOptions): Lookup {
    try {
      const route = this.#connection.get(encodeRouteLookup(address, options), decodeRoute);
      const path = this.#connection.get(encodePathLookup(address, options), decodePath);
      return { type: "route", route, path };
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      return { type: "error", errnoName: error.errnoName };
    }
  }

  /** Null where the kernel has no entry. */
  neighbour(interfaceIndex: number, address: Address): Neighbour | null {
    const entries = this.#connection.dump(encodeNeighbourDump(interfaceIndex), decodeNeighbour);
    return (
      entries.find((entry) => entry.interfaceIndex === interfaceIndex && entry.address.equals(address)) ??
      null
    );
  }

  /** By which this namespace knows another; null for one that it does not know. */
  namespaceId(netns: NetnsHandle): number | null {
    try {
      return this.#connection.get(encodeGetNetnsId(netns.fd), decodeNetnsId);
    } catch (error) {
      // No id, or a file of another kind.
      if (error instanceof NetlinkError) return null;
      throw error;
    }
  }

  /** The port of a bridge behind which a hardware address is; null where no entry tells. */
  portOf(bridge: Link, mac: Mac): Link | null {
    const entry = this.#connection
      .dump(encodeBridgeFdbDump(bridge.index), decodeFdb)
      .find((one) => one.mac === mac && one.masterIndex === bridge.index);
    return entry === undefined ? null : this.link(entry.interfaceIndex);
  }

  /** Whether `tc` has filters on a device. */
  hasFilters(interfaceIndex: number, direction: TrafficDirection): boolean {
    try {
      return this.#connection.dump(encodeFilterDump(interfaceIndex, direction), () => true).length > 0;
    } catch (error) {
      // A kernel without traffic control.
      if (error instanceof NetlinkError) return false;
      throw error;
    }
  }

  /** Entries of a VXLAN device. */
  forwardingEntries(interfaceIndex: number): readonly FdbEntry[] {
    return this.#connection.dump(encodeFdbDump(interfaceIndex), decodeFdb);
  }
}
