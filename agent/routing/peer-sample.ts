/**
 * Which peers' routes are checked, and by which devices their packets must leave. Pure.
 */

import type { PeerPath } from "../../backends/backend.ts";
import { type Address, entriesShared, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { RoutedPeer, RoutingCheckOptions } from "./routing-check.ts";

/** A peer as the daemon programs it. */
export interface PeerView {
  readonly key: string;
  readonly subnets: PerFamily<Prefix>;
  readonly publicAddresses: PerFamily<Address>;
  readonly path: PeerPath;
}

export interface NetworkView {
  /** The interfaces that carry the tunnel, and this host's addresses there. */
  readonly interfaces: PerFamily<string>;
  readonly sources: PerFamily<Address>;
  /** The devices of the backend; null while nothing is programmed, which checks public addresses only. */
  readonly devices: readonly string[] | null;
  readonly ownSubnets: PerFamily<Prefix>;
  readonly peers: readonly PeerView[];
}

/** Enough for a cause that concerns all peers or a range of them; some microseconds each. */
const STATUS_SAMPLE = 16;

/** A check of every peer and of the routes inside their subnets, for `tulle doctor`. */
export function fullRoutingCheck(network: NetworkView): RoutingCheckOptions {
  return { ...checkOf(network, network.peers), withLongerRoutes: true };
}

/** A check of some peers, spread over the list, for a status that is asked for often. */
export function sampledRoutingCheck(network: NetworkView): RoutingCheckOptions {
  const { peers } = network;
  const step = Math.max(1, peers.length / STATUS_SAMPLE);
  const count = Math.min(peers.length, STATUS_SAMPLE);
  const sample = Array.from({ length: count }, (_, index) => peers[Math.floor(index * step)]);
  const chosen = sample.filter((peer) => peer !== undefined);
  return { ...checkOf(network, chosen), withLongerRoutes: false };
}

function checkOf(
  network: NetworkView,
  peers: readonly PeerView[],
): Omit<RoutingCheckOptions, "withLongerRoutes"> {
  return {
    // A path that works may lead by another interface.
    interfaces: {},
    sources: network.sources,
    ownAddresses: Object.values(network.ownSubnets).map(({ base }) => base.plus(1)),
    peers: peers.map((peer) => routedPeer(network, peer)),
  };
}

function routedPeer(network: NetworkView, { key, subnets, publicAddresses, path }: PeerView): RoutedPeer {
  const devices = network.devices ?? [];
  // A peer may be direct in one family, and in the other behind the tunnel or on the fall-back.
  const usesInterface = (path === "direct" || path === "fallback") && network.devices !== null;
  const routers = Object.values(publicAddresses);
  return {
    key,
    // Of another family it has a subnet of a former configuration, and nothing is sent there.
    subnets: entriesShared(subnets, network.ownSubnets).map(([, subnet]) => subnet),
    publicAddresses: routers,
    routers: path === "direct" ? routers : null,
    devices: usesInterface ? [...devices, ...Object.values(network.interfaces)] : devices,
  };
}
