/**
 * The firewall of a joined network: plans it anew when something changes that it depends on. The guard keeps what was
 * planned; which rules there are is decided elsewhere.
 */

import type { FirewallGuard } from "../../backends/firewall/guard.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { PeerTable } from "../../ipam/leases/peer-table.ts";
import { type FirewallSituation, firewallPlanFor, isHostInside } from "./firewall.ts";

/** What it depends on besides the peers. */
export type FirewallGround = Omit<FirewallSituation, "peers" | "areHostsInside">;

export class NetworkFirewall {
  readonly #guard: FirewallGuard;
  readonly #peers: PeerTable;
  readonly #ground: () => FirewallGround;
  #arePeersInside = false;

  /** `ground` is asked at each planning. */
  constructor(guard: FirewallGuard, peers: PeerTable, ground: () => FirewallGround) {
    this.#guard = guard;
    this.#peers = peers;
    this.#ground = ground;
  }

  /** Plans as things are now. Never rejects: the guard reports what is wrong and tries again. */
  plan(): Promise<void> {
    const ground = this.#ground();
    const { network, host } = ground;
    const isOneInside = [host.addresses, host.publicAddresses].some((own) => isHostInside(network, own));
    const areHostsInside = isOneInside || this.#arePeersInside;
    const peers = this.#peers.peers.values();
    return this.#guard.update(firewallPlanFor({ ...ground, peers, areHostsInside }));
  }

  /** Plans if these peers make a difference. */
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
