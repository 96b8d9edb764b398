/** The links, addresses and routes of this host at one moment. host-facts.ts reads them. */

import type { KernelAddress } from "../../backends/netlink/address.ts";
import type { Link } from "../../backends/netlink/link/link.ts";
import type { Route } from "../../backends/netlink/route.ts";
import type { Address, PerFamily } from "../../ipam/addresses/ip.ts";

export type HostLink = Pick<Link, "index" | "name" | "type" | "mac" | "mtuBytes" | "flags" | "masterIndex">;
export type HostAddress = Pick<KernelAddress, "interfaceIndex" | "address" | "length" | "scope" | "flags">;

export type HostRoute = Pick<Route, "destination" | "type" | "outputIndex" | "gateway" | "protocol">;

/** How packets leave this host. */
export interface PathOut {
  readonly interfaceIndex: number;
  /** The kernel's source address for them; null when it is unknown. */
  readonly source: Address | null;
}

export interface HostSnapshot {
  readonly links: readonly HostLink[];
  readonly addresses: readonly HostAddress[];
  /** All routes of the main table. */
  readonly routes: readonly HostRoute[];
  /** The main table's default routes, lowest metric first. */
  readonly defaultRoutes: PerFamily<readonly PathOut[]>;
  /** `ip route get`; null when the address cannot be reached. */
  readonly routeTo: (address: Address) => PathOut | null;
}
