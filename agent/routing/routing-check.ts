/**
 * Compares the kernel's routing decisions for peers with what tulled means them to be. Reads only.
 *
 * Each peer costs some lookups of about 10 µs each. The rules are read once; the routes once for the longer ones
 * among them, which is why a caller that asks often leaves them out.
 */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import {
  decodePath,
  decodeRoute,
  encodePathLookup,
  encodeRouteDump,
  encodeRouteLookup,
  type LookupOptions,
  type Route,
  RTN_LOCAL,
  RTN_UNICAST,
} from "../../backends/netlink/route.ts";
import { decodeRule, encodeRuleDump } from "../../backends/netlink/rule.ts";
import { type Address, FAMILIES, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import {
  type LookupAnswer,
  longerRoutes,
  NO_ROUTE,
  obstacleOf,
  type RoutingTables,
} from "./route-judgement.ts";

/** A peer whose routes are checked. */
export interface RoutedPeer {
  /** Of its lease. */
  readonly key: string;
  readonly subnets: readonly Prefix[];
  readonly publicAddresses: readonly Address[];
  /** The devices that packets to its subnets leave by; empty checks the public addresses only. */
  readonly devices: readonly string[];
  /** Of which the next hop of a longer route is one, where the peer is on the link; null where it may have any. */
  readonly routers: readonly Address[] | null;
}

export interface RoutingCheckOptions {
  readonly peers: readonly RoutedPeer[];
  /** The interfaces that carry the tunnel; where packets to public addresses may leave by others, none. */
  readonly interfaces: PerFamily<string>;
  /** This host's addresses that tunnel packets come from: the kernel binds them to these, and to no interface. */
  readonly sources: PerFamily<Address>;
  /** Of this host's own subnets: containers' packets are forwarded with such sources. Those that it does not have do not count. */
  readonly ownAddresses: readonly Address[];
  /** Search all routes for those that take a part of a peer's subnet. */
  readonly withLongerRoutes: boolean;
  /** Answers what explains a wrong decision, for a caller that reads it less often than it checks. Default: the kernel. */
  readonly tables?: (read: () => RoutingTables) => RoutingTables;
}

/** What is wrong, and how many peers it concerns. */
export interface RoutingProblem {
  /** One sentence that names the first peer, and the rule or route. */
  readonly message: string;
  /** The same without the peer; begins with "packets". */
  readonly text: string;
  /** The end of the same sentence: what is in the way, for whichever peers. */
  readonly obstacle: string;
  readonly remedy: string;
  /** No route leads to the address at all. */
  readonly isMissingRoute: boolean;
}

const ROUTING_REMEDY =
  'delete the rule or route, or put a rule before it: "ip rule add to SUBNET lookup main priority 100"';

/** One problem per cause. Throws NetlinkError when the kernel cannot be asked. */
export function checkRouting(
  connection: NetlinkConnection,
  options: RoutingCheckOptions,
): readonly RoutingProblem[] {
  const check = new RoutingCheck(connection, options);
  for (const peer of options.peers) check.examine(peer);
  if (options.withLongerRoutes) check.examineLongerRoutes();
  return check.problems();
}

class RoutingCheck {
  readonly #connection: NetlinkConnection;
  readonly #options: RoutingCheckOptions;
  readonly #names: ReadonlyMap<number, string>;
  readonly #localSources: readonly Address[];
  #tables: RoutingTables | null = null;
  /** Per cause: the sentence of the first peer, and the peers that it concerns. */
  readonly #found = new Map<string, { readonly text: string; readonly peers: Set<string> }>();

  constructor(connection: NetlinkConnection, options: RoutingCheckOptions) {
    this.#connection = connection;
    this.#options = options;
    const links: readonly Link[] = connection.dump(encodeLinkDump(), decodeLink);
    this.#names = new Map(links.map(({ index, name }) => [index, name]));
    this.#localSources = options.ownAddresses.filter((address) => this.#isLocal(address));
  }

  examine(peer: RoutedPeer): void {
    for (const subnet of peer.subnets) {
      if (peer.devices.length === 0) continue;
      const address = subnet.base.plus(1);
      const sources = [null, ...this.#localSources.filter(({ family }) => family === address.family)];
      for (const source of sources)
        this.#look(peer, address, peer.devices, source === null ? {} : { source });
    }
    for (const address of peer.publicAddresses) {
      const expected = this.#options.interfaces[address.family];
      const source = this.#options.sources[address.family];
      this.#look(
        peer,
        address,
        expected === undefined ? null : [expected],
        source === undefined ? {} : { source },
      );
    }
  }

  examineLongerRoutes(): void {
    const subnets = this.#options.peers
      .filter(({ devices }) => devices.length > 0)
      .flatMap((owner) => {
        const { subnets: all, devices: expected, routers } = owner;
        return all.map((subnet) => ({ subnet, owner, expected, routers }));
      });
    const routes = this.#readRoutes().map((route) => ({ route, device: this.#deviceOf(route) }));
    for (const { subnet, owner, text } of longerRoutes(subnets, routes)) {
      this.#note(owner, `packets to a part of ${subnet} take the longer foreign route ${text}`, text);
    }
  }

  problems(): readonly RoutingProblem[] {
    return [...this.#found].map(([obstacle, { text, peers }]) => {
      const [first] = peers;
      const others =
        peers.size === 1 ? "" : ` (and of ${peers.size - 1} more ${peers.size === 2 ? "peer" : "peers"})`;
      const isMissingRoute = text.includes(NO_ROUTE);
      return {
        message: `lease ${first}: ${text}${others}`,
        text,
        obstacle,
        remedy: ROUTING_REMEDY,
        isMissingRoute,
      };
    });
  }

  /** `expected`: devices that the packet may leave by; null for all. */
  #look(
    peer: RoutedPeer,
    address: Address,
    expected: readonly string[] | null,
    options: LookupOptions,
  ): void {
    const answer = this.#lookup(address, options);
    const isRoute = answer.type === "route" && answer.route.type === RTN_UNICAST;
    if (isRoute && (expected?.includes(answer.device) ?? true)) return;
    this.#tables ??= this.#explanation();
    const obstacle = obstacleOf({ address, source: options.source ?? null, expected, answer }, this.#tables);
    if (obstacle !== null) this.#note(peer, `packets to ${address} ${obstacle}`, obstacle);
  }

  #lookup(address: Address, options: LookupOptions): LookupAnswer {
    try {
      const route = this.#connection.get(encodeRouteLookup(address, options), decodeRoute);
      const { outputIndex, nexthopId } = route;
      // With net.ipv4.nexthop_compat_mode=0 the route shows the id of its nexthop object alone.
      const isNamed = outputIndex !== null || nexthopId === null;
      const shown = isNamed ? route : this.#connection.get(encodePathLookup(address, options), decodePath);
      return { type: "route", route, device: this.#deviceOf(shown) };
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      return { type: "error", errnoName: error.errnoName };
    }
  }

  #note({ key }: RoutedPeer, text: string, cause: string): void {
    const found = this.#found.get(cause);
    if (found === undefined) this.#found.set(cause, { text, peers: new Set([key]) });
    else found.peers.add(key);
  }

  /** A source that no device has makes the kernel refuse the lookup. */
  #isLocal(address: Address): boolean {
    const answer = this.#lookup(address, {});
    return answer.type === "route" && answer.route.type === RTN_LOCAL;
  }

  #explanation(): RoutingTables {
    const read = (): RoutingTables => this.#readTables();
    return this.#options.tables?.(read) ?? read();
  }

  #readTables(): RoutingTables {
    const rules = FAMILIES.flatMap((family) => this.#connection.dump(encodeRuleDump(family), decodeRule));
    return { rules, routes: this.#readRoutes() };
  }

  #readRoutes(): readonly Route[] {
    return FAMILIES.flatMap((family) => this.#connection.dump(encodeRouteDump(family), decodeRoute));
  }

  #deviceOf({ outputIndex }: Pick<Route, "outputIndex">): string {
    return outputIndex === null ? "" : (this.#names.get(outputIndex) ?? `interface ${outputIndex}`);
  }
}
