/**
 * What this host reaches without the overlay: a subnet of the network that overlaps one of these cuts it off. Pure.
 *
 * The agent reads them from the kernel; they change at run time, so they are handed on as a value.
 */

import { ADDRESS_BITS, type Address, entriesOf, type PerFamily, Prefix } from "./ip.ts";
import { OverlapIndex } from "./overlap-index.ts";

export interface LocalPrefix {
  readonly prefix: Prefix;
  /**
   * `address`: one of this host's own. `link`: the prefix of an interface's address. `route`: a destination in the
   * main table. `gateway`: a router. `store`: an address of the lease store. `peer`: a host's public address.
   */
  readonly kind: "address" | "link" | "route" | "gateway" | "store" | "peer";
  /** The interface, or what has the address: completes "10.0.0.0/8 (…)". */
  readonly origin: string;
  /** Of a route; null when the destination is on the link. */
  readonly gateway: Address | null;
  /** True where a bridge of this host's containers can be the reason: the subnet that it had may be leased again. */
  readonly mayBeContainers: boolean;
  /**
   * True where a virtual device of this host has the first address of the prefix, as the gateway of containers has: if the
   * prefix is this host's subnet, they are its containers.
   */
  readonly hasGateway?: boolean;
}

/** The first and the last address of a range. */
export interface AddressSpan {
  readonly base: Address;
  readonly last: Address;
}

/** One address as what must stay reachable. */
export function localAddress(address: Address, kind: LocalPrefix["kind"], origin: string): LocalPrefix {
  const prefix = Prefix.of(address, ADDRESS_BITS[address.family]);
  return { prefix, kind, origin, gateway: null, mayBeContainers: false };
}

/**
 * What a subnet of the network must not overlap. A prefix that holds a whole range of the network, as a default route
 * does, is left out: the network is a more specific part of it, and no choice of a subnet avoids it.
 */
export class LocalPrefixes {
  readonly #index = new OverlapIndex<LocalPrefix>();
  readonly #addresses = new Map<string, LocalPrefix>();
  readonly #blocking: readonly LocalPrefix[];

  /** Of equal prefixes the first one is named. */
  constructor(prefixes: readonly LocalPrefix[], ranges: readonly AddressSpan[]) {
    this.#blocking = prefixes.filter(({ prefix }) => !holdsRange(prefix, ranges));
    for (const local of this.#blocking.toReversed()) this.#index.set(local.prefix, local);
    for (const local of prefixes)
      if (local.kind === "address") this.#addresses.set(local.prefix.base.toString(), local);
  }

  /** What overlaps one of the subnets; null when nothing does. */
  overlapping(subnets: PerFamily<Prefix>): LocalPrefix | null {
    return this.#index.findAny(subnets) ?? null;
  }

  /** What routes to a peer's subnets would take the packets of; null for nothing. A longer route keeps its part of them. */
  coveredByPeer(subnets: PerFamily<Prefix>): LocalPrefix | null {
    for (const [, subnet] of entriesOf(subnets)) {
      for (const local of this.#index.findAll(subnet))
        if (local.kind !== "route" || local.prefix.length <= subnet.length) return local;
    }
    return null;
  }

  /**
   * What overlaps the subnets of this host, beyond the bridges and gateways of its own containers, routes inside them, and
   * single addresses of its own: a device of an administrator's overlay may have one, and the host reaches it in any case.
   */
  overlappingOwn(subnets: PerFamily<Prefix>): LocalPrefix | null {
    for (const [, subnet] of entriesOf(subnets)) {
      for (const local of this.#index.findAll(subnet)) {
        const isInside = subnet.contains(local.prefix) && (local.mayBeContainers || isOwnAddress(local));
        const isOfContainers = local.hasGateway && local.prefix.equals(subnet);
        if (!isInside && !isOfContainers) return local;
      }
    }
    return null;
  }

  /** What lies in the span or overlaps it. */
  inside({ base, last }: AddressSpan): readonly LocalPrefix[] {
    return this.#blocking.filter(
      ({ prefix }) =>
        prefix.family === base.family && prefix.base.value <= last.value && prefix.last.value >= base.value,
    );
  }

  /** The interface's entry when the address is one of this host's own. */
  owner(address: Address): LocalPrefix | undefined {
    return this.#addresses.get(address.toString());
  }
}

/** An address alone, without a network of other hosts around it. */
function isOwnAddress({ prefix, kind }: LocalPrefix): boolean {
  return (kind === "address" || kind === "link") && prefix.length === ADDRESS_BITS[prefix.family];
}

/** True when the prefix holds a whole range of the network. */
function holdsRange(prefix: Prefix, ranges: readonly AddressSpan[]): boolean {
  return ranges.some(({ base, last }) => prefix.contains(base) && prefix.contains(last));
}

/** `10.0.0.0/8 (eth0)`, or the address alone without its length. */
export function describeLocal({ prefix, origin }: LocalPrefix): string {
  const isAddress = prefix.length === ADDRESS_BITS[prefix.family];
  return `${isAddress ? prefix.base : prefix} (${origin})`;
}
