/**
 * What this host is to have, from the newest facts: kernel objects, firewall rules, the value of our lease, subnet.env.
 *
 * Each fact (interface and network configuration, our subnets, the firewall settings, the peers) changes in one method
 * here, which updates all outputs.
 */

import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { interfacesOf } from "../../backends/peers.ts";
import { Planner } from "../../backends/planner.ts";
import { mapFamilies, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { PeerUpdates } from "../../ipam/leases/peer-update.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { Identity } from "../host/identity.ts";
import type { AgentMetrics } from "../report/agent-metrics.ts";
import { type Attachment, leaseAttrsOf, peerSettingsOf } from "./attachment.ts";
import { hostObjects } from "./host-objects.ts";
import { NetworkFirewall } from "./network-firewall.ts";
import type { NetworkParts } from "./network-parts.ts";
import type { Ownership } from "./ownership.ts";
import type { ReasonLog } from "./reason-log.ts";
import { scopeOf } from "./scope.ts";

export interface DesiredStateOptions {
  /** Null for the first network. */
  readonly network: string | null;
  readonly attachment: Attachment;
  readonly subnets: PerFamily<Prefix>;
  readonly firewall: FirewallSettings;
  /** Of the network in force and the one before: where peers' subnets may lie, and our own leftovers. */
  readonly ranges: readonly Prefix[];
  /** Ranges of the daemon's other networks, whose containers are kept apart from this one's. */
  readonly isolated: () => readonly Prefix[];
  readonly port: RtnetlinkPort;
  readonly identity: Identity;
  readonly ownership: Ownership;
  readonly metrics: AgentMetrics;
  readonly rejections: ReasonLog;
}

export class DesiredState {
  #facts: DesiredStateOptions;
  readonly #parts: NetworkParts;
  readonly #updates: PeerUpdates;
  readonly #planner: Planner;
  readonly #networkFirewall: NetworkFirewall;
  /** Ranges beside those of the facts in which peers' subnets may lie. */
  #newRanges: readonly Prefix[] = [];

  constructor(facts: DesiredStateOptions, parts: NetworkParts) {
    this.#facts = facts;
    this.#parts = parts;
    const { backend } = facts.attachment;
    this.#updates = new PeerUpdates(parts.peers);
    this.#planner = new Planner(backend, facts.port.hasNexthopObjects, (own) =>
      hostObjects(this.#facts.firewall, own, interfacesOf(this.attachment.host)),
    );
    this.#networkFirewall = new NetworkFirewall(facts.network, parts.firewall, parts.peers, () => ({
      settings: this.#facts.firewall,
      network: this.attachment.networkConfig,
      own: this.subnets,
      backend: this.attachment.backend,
      host: this.attachment.host,
      bridges: this.attachment.bridges,
      isolated: this.#facts.isolated(),
      ranges: this.#ranges,
    }));
  }

  get attachment(): Attachment {
    return this.#facts.attachment;
  }

  get subnets(): PerFamily<Prefix> {
    return this.#facts.subnets;
  }

  get subnetEnv(): SubnetEnv {
    const { networkConfig, backend } = this.attachment;
    return {
      networks: mapFamilies(networkConfig.families, ({ network }) => [network]),
      subnets: mapFamilies(this.subnets, ({ base, length }) => ({ address: base.plus(1), length })),
      mtuBytes: backend.mtuBytes,
      ipMasq: this.#facts.firewall.masquerade,
    };
  }

  /** Peers came, went or changed. */
  peersChanged(): void {
    const { metrics, rejections } = this.#facts;
    const { peers, reconciler } = this.#parts;
    metrics.setPeers(peers.peers.size, peers.heldCount, peers.rejectedCount);
    rejections.noteChanges(peers.takeChangedReasons());
    const update = this.#updates.take();
    if (update === null) return;
    this.#followRanges();
    reconciler.setDesired(this.#planner.plan({ own: this.subnets, peers: update }));
    this.#networkFirewall.peersChanged(update.peers.keys());
    this.#followPeers();
  }

  /** Packets to these peers take another way. */
  waysChanged(keys: Iterable<LeaseKey>): void {
    const plan = this.#planner.replanPeers(keys);
    if (plan.groups.size > 0) this.#parts.reconciler.setDesired(plan);
  }

  /** Another interface, other addresses of it, or another network configuration. */
  attachTo(attachment: Attachment): void {
    const { lease, peers } = this.#parts;
    this.#facts = { ...this.#facts, attachment };
    lease.publish(leaseAttrsOf(attachment, this.#facts.identity.nodeId));
    peers.reconfigure(peerSettingsOf(attachment));
    this.#replan();
  }

  /** What this host reaches without the network is different now. */
  setLocalPrefixes({ local, bridges }: Pick<Attachment, "local" | "bridges">): void {
    // The prepared backend stays the same object: what it runs goes on.
    this.#facts = { ...this.#facts, attachment: { ...this.attachment, local, bridges } };
    this.#parts.peers.reconfigure({ local });
    this.peersChanged();
    if (this.#facts.firewall.containerSources === "strict") void this.planFirewall();
  }

  /** Our lease is for other subnets now. */
  moveTo(subnets: PerFamily<Prefix>, leaseKey: string): void {
    this.#facts = { ...this.#facts, subnets };
    this.#parts.peers.setOwnKey(leaseKey);
    this.#replan();
  }

  /** The firewall settings of a reload. */
  setFirewall(firewall: FirewallSettings): void {
    this.#facts = { ...this.#facts, firewall };
    this.#replan();
  }

  /** The daemon's other networks changed their ranges. */
  isolationChanged(): void {
    this.#setScope();
    void this.planFirewall();
  }

  /** Resolves after the pass of the firewall. Never rejects: the guard reports failures and retries. */
  async planFirewall(): Promise<void> {
    await this.#networkFirewall.plan();
  }

  /** Hosts that were restarted have subnets of the newest configuration's ranges, which this host has not followed yet. */
  #followRanges(): void {
    const { config } = this.#parts.peers;
    const known = this.#ranges.map(String);
    const newest = Object.values(config?.families ?? {}).map(({ network }) => network);
    const added = newest.filter((network) => !known.includes(String(network)));
    if (added.length === 0) return;
    this.#newRanges = [...this.#newRanges, ...added];
    this.#setScope();
  }

  get #ranges(): readonly Prefix[] {
    return [...this.#facts.ranges, ...this.#newRanges];
  }

  #setScope(): void {
    this.#parts.reconciler.setScope(scopeOf({ ...this.#facts, ranges: this.#ranges }));
  }

  #followPeers(): void {
    const { peers, runner } = this.#parts;
    const { backend } = this.attachment;
    const { peers: all } = peers;
    runner.follow(backend.parts, (part) => backend.targetFor(part, { own: this.subnets, peers: all }));
  }

  #replan(): void {
    this.#planner.replan(this.attachment.backend);
    this.#setScope();
    this.peersChanged();
    void this.planFirewall();
  }
}
