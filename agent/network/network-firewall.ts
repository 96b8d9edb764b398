/** The firewall plan of a joined network, made again when a fact changes that it depends on. The guard applies it. */

import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import type { NetworkName } from "../../backends/firewall/names.ts";
import { entriesOf, mapFamilies, type Prefix } from "../../ipam/addresses/ip.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { PeerTable } from "../../ipam/leases/peer-table.ts";
import { type FirewallSituation, firewallInputFor, isHostInside } from "./firewall.ts";

/** The facts besides the peers. */
export type FirewallGround = Omit<FirewallSituation, "peers" | "areHostsInside" | "otherRanges"> & {
  /** Where peers' subnets may lie: the network's range, and those from and to which it moves. */
  readonly ranges: readonly Prefix[];
};

export class NetworkFirewall {
  readonly #network: NetworkName;
  readonly #plans: JointPlans;
  readonly #peers: PeerTable;
  readonly #ground: () => FirewallGround;
  #arePeersInside = false;
  /** Those beside the network's range in which peers have subnets. */
  #otherRanges: readonly Prefix[] = [];

  /** `ground` is called for each plan. */
  constructor(network: NetworkName, plans: JointPlans, peers: PeerTable, ground: () => FirewallGround) {
    this.#network = network;
    this.#plans = plans;
    this.#peers = peers;
    this.#ground = ground;
  }

  /** Plans from the present facts. Never rejects: the guard reports failures and retries. */
  plan(): Promise<void> {
    const ground = this.#ground();
    const { network, host } = ground;
    const isOneInside = (["address", "publicAddress"] as const).some((name) =>
      isHostInside(
        network,
        mapFamilies(host.uplinks, (uplink) => uplink[name]),
      ),
    );
    const areHostsInside = isOneInside || this.#arePeersInside;
    const peers = this.#peers.peers.values();
    this.#otherRanges = this.#otherRangesNow(ground);
    const situation = { ...ground, peers, areHostsInside, otherRanges: this.#otherRanges };
    return this.#plans.update(this.#network, firewallInputFor(situation));
  }

  /** Plans if the rules depend on these peers. */
  peersChanged(changed: Iterable<LeaseKey>): void {
    const keys = [...changed];
    const ground = this.#ground();
    const { network, settings } = ground;
    const arePeersInside = this.#arePeersInside;
    for (const key of arePeersInside ? [] : keys) {
      const addresses = this.#peers.peers.get(key)?.attrs.publicAddress ?? {};
      this.#arePeersInside ||= isHostInside(network, addresses);
    }
    const isOther = this.#arePeersInside !== arePeersInside || this.#movesOtherwise(keys, ground);
    if (isOther || settings.tunnelSources === "peers") void this.plan();
  }

  /** Whether peers have subnets in other ranges than those of the last plan. Costs the changed peers, but during a move. */
  #movesOtherwise(keys: readonly LeaseKey[], ground: FirewallGround): boolean {
    const isElsewhere = (key: LeaseKey): boolean =>
      subnetsElsewhere(this.#peers.peers.get(key), ground).length > 0;
    if (this.#otherRanges.length === 0 && !keys.some(isElsewhere)) return false;
    return this.#otherRangesNow(ground).join() !== this.#otherRanges.join();
  }

  #otherRangesNow(ground: FirewallGround): readonly Prefix[] {
    // A range that this network had before may be another network's now.
    const ranges = ground.ranges.filter((range) => !ground.isolated.some((other) => other.overlaps(range)));
    const found = new Set<Prefix>();
    for (const peer of this.#peers.peers.values()) {
      for (const subnet of subnetsElsewhere(peer, ground)) {
        const range = ranges.find((one) => one.contains(subnet));
        if (range !== undefined) found.add(range);
      }
    }
    return ranges.filter((range) => found.has(range));
  }
}

/** The subnets of a peer outside the network's range, in its families. */
function subnetsElsewhere(peer: Pick<Lease, "subnets"> | undefined, { network }: FirewallGround): Prefix[] {
  return entriesOf(peer?.subnets ?? {}).flatMap(([family, subnet]) => {
    const range = network.families[family]?.network;
    return range === undefined || range.contains(subnet) ? [] : [subnet];
  });
}
