/** Which peers' packets go by the fall-back. The kernel's routes keep it over a restart of the daemon. */

import type { MixedBackend } from "../../backends/mixed.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import { decodeRoute, encodeRouteDump, type Route, RT_TABLE_MAIN } from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import { entriesOf, FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { targetId } from "../probes/targets.ts";

export class Diversions {
  readonly #peers = new Map<string, LeaseKey>();

  /** Peers with a family on the fall-back. */
  get peers(): ReadonlySet<LeaseKey> {
    return new Set(this.#peers.values());
  }

  has(peer: LeaseKey, family: Family): boolean {
    return this.#peers.size > 0 && this.#peers.has(targetId(peer, family));
  }

  set(peer: LeaseKey, family: Family, isDiverted: boolean): void {
    if (isDiverted) this.#peers.set(targetId(peer, family), peer);
    else this.#peers.delete(targetId(peer, family));
  }

  /** Forgets all but these, as in "10.2.54.0-24 IPv4". Returns the peers that this concerns. */
  keepOnly(ids: ReadonlySet<string>): readonly LeaseKey[] {
    const gone = [...this.#peers].filter(([id]) => !ids.has(id));
    for (const [id] of gone) this.#peers.delete(id);
    return gone.map(([, peer]) => peer);
  }

  /** Takes over what a former run left in the kernel. Throws NetlinkError. */
  resume(
    netlink: NetlinkConnection,
    backend: Pick<MixedBackend, "fallback" | "fallbackTo">,
    peers: Iterable<Lease>,
  ): void {
    const subnets = routedSubnets(netlink, Object.values(backend.fallback?.part.devices ?? {}));
    if (subnets.size === 0) return;
    for (const lease of peers) {
      for (const [family] of entriesOf(backend.fallbackTo(lease)))
        if (subnets.has(String(lease.subnets[family]))) this.set(lease.key, family, true);
    }
  }
}

/** The destinations of our routes on the devices. */
function routedSubnets(netlink: NetlinkConnection, devices: readonly string[]): ReadonlySet<string> {
  const links: readonly Link[] = netlink.dump(encodeLinkDump(), decodeLink);
  const indexes = new Set(links.filter(({ name }) => devices.includes(name)).map(({ index }) => index));
  if (indexes.size === 0) return new Set();
  const filter = { table: RT_TABLE_MAIN, protocol: ROUTE_PROTOCOL };
  const routes = FAMILIES.flatMap((family): readonly Route[] =>
    netlink.dump(encodeRouteDump(family, filter), decodeRoute),
  );
  return new Set(
    routes
      // A kernel that cannot filter dumps all routes.
      .filter(({ protocol }) => protocol === ROUTE_PROTOCOL)
      .filter(({ outputIndex }) => outputIndex !== null && indexes.has(outputIndex))
      .map(({ destination }) => String(destination)),
  );
}
