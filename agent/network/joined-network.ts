/**
 * A network that this host has joined: keeps lease, kernel, firewall and subnet.env in step with the store and the
 * host.
 *
 * Wires the parts and owns no policy: the peer table decides who is a peer, the backend what they need, the
 * reconciler what to do about it. Nothing is withdrawn when it stops.
 */

import type { HostFacts } from "../../backends/backend.ts";
import type { PassReport, ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { Planner } from "../../backends/planner.ts";
import type { Scope } from "../../backends/state/ownership.ts";
import { leftoverDevices } from "../../backends/vxlan-leftovers.ts";
import { mapFamilies, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { type Clock, Nap } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { keepAffinity } from "../../ipam/leases/affinity.ts";
import type { Membership } from "../../ipam/leases/join.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";
import type { Logger } from "../../ipam/log.ts";
import type { StoreConnection, StoreListing, StoreMessage, SubnetStore } from "../../ipam/stores/store.ts";
import type { AgentConfig, FirewallSettings } from "../config/config.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { HostWatch } from "../host/host-watch.ts";
import type { Identity } from "../host/identity.ts";
import type { AgentMetrics } from "../report/agent-metrics.ts";
import type { StatusReport } from "../report/status.ts";
import {
  type Attachment,
  type AttachmentParts,
  attach,
  chooseFor,
  isSameAttachment,
  leaseAttrsOf,
} from "./attachment.ts";
import { judgeConfig } from "./config-change.ts";
import type { Enrolment } from "./enrolment.ts";
import { hostObjects } from "./host-objects.ts";
import { NetworkFirewall } from "./network-firewall.ts";
import { assemble, type NetworkParts } from "./network-parts.ts";
import { ReasonLog } from "./reason-log.ts";
import { statusReport } from "./status-report.ts";
import { SubnetFile } from "./subnet-file.ts";

export interface JoinedNetworkOptions {
  readonly config: AgentConfig;
  readonly connection: StoreConnection;
  readonly store: SubnetStore;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  readonly version: string;
  readonly port: RtnetlinkPort;
  readonly netlink: NetlinkConnection;
  readonly attachmentParts: AttachmentParts;
  readonly enrolment: Enrolment;
  readonly attachment: Attachment;
  readonly membership: Membership;
  /** Of the network in force and the one before: where peers' subnets may lie, and our own leftovers. */
  readonly ranges: readonly Prefix[];
  /** The settings in force; a reload may have changed them since the start. */
  readonly firewall: FirewallSettings;
  /** Why this daemon keeps its hands off the firewall; null when it does not. */
  readonly firewallProblem: string | null;
  /** Called once, when packets can flow. */
  readonly onReady: () => void;
}

export class JoinedNetwork {
  readonly #options: JoinedNetworkOptions;
  readonly #parts: NetworkParts;
  readonly #networkFirewall: NetworkFirewall;
  readonly #refusals: ReasonLog;
  readonly #conflicts: ReasonLog;
  readonly #subnetFile: SubnetFile;
  readonly #hostWatch: HostWatch;
  readonly #untilExpiry: Nap;
  #attachment: Attachment;
  #subnets: PerFamily<Prefix>;
  #planner: Planner;
  #firewall: FirewallSettings;
  #configProblem: string | null = null;
  #isAnnounced = false;
  /** The last change of the attachment; the next one waits for it. */
  #reattachment: Promise<void> = Promise.resolve();

  constructor(options: JoinedNetworkOptions) {
    const { clock, logger, attachment, membership, metrics, enrolment } = options;
    this.#options = options;
    this.#attachment = attachment;
    this.#subnets = membership.subnets;
    this.#firewall = options.firewall;
    this.#planner = this.#makePlanner();
    metrics.setConfigRefused(false);
    this.#refusals = new ReasonLog(logger, "warn", "lease is not used");
    this.#conflicts = new ReasonLog(logger, "error", "somebody else's object is in our place");
    this.#subnetFile = new SubnetFile(options.config.files.subnetFile, logger);
    this.#hostWatch = new HostWatch({ clock, logger, follow: () => this.#followHost() });
    this.#untilExpiry = new Nap(clock);
    this.#parts = assemble({
      ...options,
      scope: this.#scope(),
      onLease: (state) => this.#leaseChanged(state),
      onRenewal: (isSuccess) => metrics.noteRenewal(isSuccess),
      onPass: (report) => this.#notePass(report),
      onFirewallPass: (pass) => metrics.noteFirewallPass(pass),
      onHostChange: () => this.#hostWatch.changed(),
      move: (stop) => enrolment.move(this.#attachment, stop),
    });
    this.#networkFirewall = new NetworkFirewall(this.#parts.firewall, this.#parts.peers, () => ({
      settings: this.#firewall,
      network: this.#attachment.networkConfig,
      own: this.#subnets,
      backend: this.#attachment.backend,
      host: this.#attachment.host,
    }));
  }

  /** True while this host is a working member of its network. */
  get isReady(): boolean {
    const hasLease = this.#parts.lease.state.state === "held";
    return this.#isAnnounced && hasLease && this.#hostWatch.problem === null;
  }

  /** What this host is in the network, in a few words. */
  get summary(): string {
    const { lease, peers } = this.#parts;
    return `${lease.entry.key} on ${this.#attachment.host.interface}, ${peers.peers.size} peers`;
  }

  /** Keeps everything in step until `signal` fires. `listing` is what the store held when the network was joined. */
  async run(
    listing: StoreListing,
    messages: AsyncIterator<StoreMessage>,
    signal: AbortSignal,
  ): Promise<void> {
    const { peers, lease, reconciler, firewall } = this.#parts;
    const { givenUp } = this.#options.membership;
    const entries = listing.entries.filter(({ key }) => !givenUp.includes(key));
    peers.apply({ type: "list", ...listing, entries }, this.#nowMs());
    firewall.start();
    this.#plan();
    await Promise.all([
      reconciler.run(signal),
      lease.run(signal),
      this.#announce(signal).then(() => this.#keepAffinity(signal)),
      this.#followStore(messages, signal),
      this.#hostWatch.run(signal),
      this.#expireVanished(signal),
    ]);
  }

  async stop(): Promise<void> {
    await this.#parts.firewall.stop();
  }

  /** What `tulle status` shows; `storeProblem` is known outside. */
  status(storeProblem: string | null): StatusReport {
    const { lease, peers, reconciler, firewall } = this.#parts;
    const { firewallProblem } = this.#options;
    const ours = [this.#hostWatch.problem, this.#configProblem, this.#subnetFile.problem, firewallProblem];
    const problems = [storeProblem, ...ours];
    return statusReport({
      version: this.#options.version,
      isReady: this.isReady,
      store: this.#options.store.description,
      attachment: this.#attachment,
      lease,
      snapshot: peers.snapshot(),
      kernel: reconciler.status(),
      firewall: firewall.status(),
      problems: problems.filter((problem) => problem !== null),
      nowMs: this.#nowMs(),
    });
  }

  /** Puts the firewall settings of a reload in force; subnet.env follows, for it says who masquerades. */
  setFirewall(settings: FirewallSettings): void {
    this.#firewall = settings;
    this.#parts.firewall.setResyncSeconds(settings.resyncSeconds);
    this.#planner = this.#makePlanner();
    this.#plan();
    void this.#networkFirewall.plan();
    if (this.#isAnnounced) void this.#writeSubnetFile();
  }

  /** Whether the store can be followed decides who may be let go. */
  noteStore(isFollowed: boolean): void {
    this.#parts.peers.noteStore(isFollowed, this.#nowMs());
    this.#untilExpiry.wake();
  }

  /** Readiness follows the lease; so do device, subnet.env and firewall when it is for another subnet now. */
  #leaseChanged(state: LeaseState): void {
    const { metrics, enrolment } = this.#options;
    const { lease, peers, reconciler } = this.#parts;
    if (state.state === "conflict" && state.conflict === "copied identity") void enrolment.forsakeIdentity();
    metrics.noteLease(state);
    metrics.setReady(this.isReady);
    if (this.#subnets === lease.subnets) return;
    this.#subnets = lease.subnets;
    peers.setOwnKey(lease.entry.key);
    reconciler.setScope(this.#scope());
    this.#plan();
    void this.#networkFirewall.plan();
    void this.#writeSubnetFile();
  }

  /** subnet.env is written once the device is there, and readiness said once all is programmed. */
  async #announce(signal: AbortSignal): Promise<void> {
    const { config, logger, metrics, onReady } = this.#options;
    if (!(await this.#isDeviceUp(signal))) return;
    await this.#writeSubnetFile();
    await this.#networkFirewall.plan();
    this.#isAnnounced = true;
    metrics.setReady(this.isReady);
    const { lease, peers } = this.#parts;
    logger.info("ready", { lease: lease.entry.key, file: config.files.subnetFile, peers: peers.peers.size });
    onReady();
  }

  /**
   * Waits for the pass after which the device is there; false when `signal` fired before. An entry of a peer that
   * the kernel refuses keeps nobody else waiting.
   */
  async #isDeviceUp(signal: AbortSignal): Promise<boolean> {
    const { reconciler } = this.#parts;
    const isOfDevice = ({ key }: { readonly key: string }): boolean => /^(link|address) /.test(key);
    const isMissing = ({ trouble, failures, conflicts }: ReconcilerStatus): boolean =>
      trouble !== null || failures.some(isOfDevice) || conflicts.some(isOfDevice);
    do {
      await reconciler.passed(signal).catch(() => undefined);
    } while (!signal.aborted && isMissing(reconciler.status()));
    return !signal.aborted;
  }

  #writeSubnetFile(): Promise<void> {
    const { networkConfig, backend } = this.#attachment;
    return this.#subnetFile.write({
      networks: mapFamilies(networkConfig.families, ({ network }) => [network]),
      subnets: mapFamilies(this.#subnets, ({ base, length }) => ({ address: base.plus(1), length })),
      mtuBytes: backend.mtuBytes,
      ipMasq: this.#firewall.masquerade,
    });
  }

  async #followStore(messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    const { peers, lease } = this.#parts;
    while (!signal.aborted) {
      const { value: message, done } = await messages.next();
      if (done) break;
      this.#options.metrics.noteMessage(message);
      peers.doubtStore(lease.troubleMs);
      peers.apply(message, this.#nowMs());
      lease.observe(message);
      this.#plan();
      await this.#considerConfig();
    }
  }

  /** Applies a changed configuration if that harms nobody; refuses it, visibly, if it moves the network. */
  async #considerConfig(): Promise<void> {
    const { peers } = this.#parts;
    const news = { attachment: this.#attachment, own: this.#subnets, next: peers.config };
    const judgement = judgeConfig(news);
    const problem = peers.configProblem ?? judgement.problem;
    if (problem === null && judgement.apply !== null) await this.#reattach(judgement.apply);
    if (problem !== null && problem !== this.#configProblem)
      this.#options.logger.error("network configuration", { problem });
    this.#configProblem = problem;
    this.#options.metrics.setConfigRefused(problem !== null);
  }

  async #followHost(): Promise<void> {
    // What failed for want of the interface need not wait for its next turn.
    if (this.#hostWatch.problem !== null) this.#parts.reconciler.requestDump("interface may be usable again");
    await this.#reattach();
  }

  /** Looks at the host again, with the configuration in force or another one. One at a time. */
  #reattach(next: NetworkConfig | null = null): Promise<void> {
    const turn = this.#reattachment.then(async () => {
      await this.#attachAnew(next ?? this.#attachment.networkConfig);
    });
    // Who asked for it hears of a failure; who waits for his turn need not.
    this.#reattachment = turn.catch(() => undefined);
    return turn;
  }

  /** If anything differs, device, lease, peers and subnet.env follow. */
  async #attachAnew(networkConfig: NetworkConfig): Promise<void> {
    const { logger, identity, connection, netlink, attachmentParts } = this.#options;
    const before = this.#attachment;
    const snapshot = takeHostSnapshot(netlink);
    const chosen = chooseFor(attachmentParts, networkConfig, snapshot, {
      present: before.chosen,
      subnets: Object.values(this.#subnets),
      leaseAddresses: [],
    });
    const after = await attach(attachmentParts, networkConfig, chosen, snapshot);
    if (isSameAttachment(before, after)) return;
    logger.info("host or network options changed; following", {
      interface: chosen.link.name,
      reason: chosen.reason,
      addresses: Object.values(chosen.publicAddresses),
      mtuBytes: after.backend.mtuBytes,
    });
    if (!isSameAddress(before.host, after.host)) connection.redial();
    await identity.setInterfaceMac(chosen.link.mac);
    this.#moveTo(after);
    void this.#networkFirewall.plan();
    if (this.#isAnnounced) await this.#writeSubnetFile();
  }

  #moveTo(after: Attachment): void {
    const { lease, peers, reconciler, firewall } = this.#parts;
    this.#attachment = after;
    this.#planner = this.#makePlanner();
    lease.publish(leaseAttrsOf(after, this.#options.identity.nodeId));
    peers.reconfigure({
      ownAddresses: after.host.publicAddresses,
      refusePeer: (peer) => after.backend.refusePeer(peer),
      identitiesOf: (peer) => after.backend.peerIdentities(peer),
    });
    reconciler.setScope(this.#scope());
    this.#plan();
    firewall.setPreference(after.networkConfig.enableNftables);
  }

  #plan(): void {
    const { peers, reconciler } = this.#parts;
    const refused = peers.refused();
    this.#options.metrics.setPeers(peers.peers.size, peers.heldCount, refused.size);
    this.#refusals.note(refused.values());
    const changed = peers.takeChanged();
    reconciler.setDesired(this.#planner.plan({ own: this.#subnets, peers: peers.peers, changed }));
    if (Number.isFinite(peers.nextDeadlineMs)) this.#untilExpiry.wake();
    this.#networkFirewall.peersChanged(changed);
  }

  /** After everything else: only hosts that come later have a use for it. */
  async #keepAffinity(signal: AbortSignal): Promise<void> {
    const { store, clock, logger, identity } = this.#options;
    const current = () => ({
      key: this.#parts.lease.entry.key,
      attrs: leaseAttrsOf(this.#attachment, identity.nodeId),
    });
    await keepAffinity({ store, current, clock, logger }, signal);
  }

  async #expireVanished(signal: AbortSignal): Promise<void> {
    const { peers } = this.#parts;
    while (!signal.aborted) {
      await this.#untilExpiry.take(peers.nextDeadlineMs - this.#nowMs(), signal);
      if (peers.expire(this.#nowMs())) this.#plan();
    }
  }

  #makePlanner(): Planner {
    const { port } = this.#options;
    return new Planner(this.#attachment.backend, port.hasNexthopObjects, (own) =>
      hostObjects(this.#firewall, own),
    );
  }

  #scope(): Scope {
    const { port, identity } = this.#options;
    const { backend, host } = this.#attachment;
    const objects = [...backend.planBase(this.#subnets), ...hostObjects(this.#firewall, this.#subnets)];
    const devices = new Set(Object.values(backend.devices));
    const leftovers = leftoverDevices(port.links(), devices, identity.vtepMacs);
    return {
      devices: new Set([...devices, ...leftovers]),
      sharedDevices: new Set([host.interface]),
      networks: this.#options.ranges,
      sysctls: new Set(objects.flatMap((object) => (object.kind === "sysctl" ? [object.path] : []))),
    };
  }

  #notePass(report: PassReport): void {
    this.#options.metrics.notePass(report);
    this.#conflicts.note(this.#parts.reconciler.status().conflicts);
    const { applied, repaired, failed, durationMs } = report;
    const roundedMs = Math.round(durationMs * 10) / 10;
    this.#options.logger.debug("pass", { applied, repaired, failed, durationMs: roundedMs });
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}

function isSameAddress(before: HostFacts, after: HostFacts): boolean {
  const text = ({ addresses }: HostFacts): string => Object.values(addresses).join(" ");
  return text(before) === text(after);
}
