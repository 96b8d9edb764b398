/** The firewall plan of a joined network, made again when a fact changes that it depends on. The guard applies it. */

import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import type { NetworkName } from "../../backends/firewall/names.ts";
import { mapFamilies } from "../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { PeerTable } from "../../ipam/leases/peer-table.ts";
import { type FirewallSituation, firewallInputFor, isHostInside } from "./firewall.ts";

/** The facts besides the peers. */
export type FirewallGround = Omit<FirewallSituation, "peers" | "areHostsInside">;

export class NetworkFirewall {
  readonly #network: NetworkName;
  readonly #plans: JointPlans;
  readonly #peers: PeerTable;
  readonly #ground: () => FirewallGround;
  #arePeersInside = false;

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
    return this.#plans.update(this.#network, firewallInputFor({ ...ground, peers, areHostsInside }));
  }

  /** Plans if the rules depend on these peers. */
  peersChanged(changed: Iterable<LeaseKey>): void {
    const { network, settings } = this.#ground();
    const arePeersInside = this.#arePeersInside;
    for (const key of arePeersInside ? [] : changed) {
      const addresses = this.#peers.peers.get(key)?.attrs.publicAddress ?? {};
      this.#arePeersInside ||= isHostInside(network, addresses);
    }
    if (this.#arePeersInside !== arePeersInside || settings.tunnelSources === "peers") void this.plan();
  }
}
