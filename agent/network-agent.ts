/**
 * One network on this host, from its configuration in the store to objects in the kernel.
 *
 * Wires the parts and owns no policy: the peer table decides who is a peer, the backend what they need, the
 * reconciler what to do about it. Nothing is withdrawn when it stops.
 */

import type { HostFacts } from "../backends/backend.ts";
import type { FailedChange } from "../backends/kernel/failures.ts";
import type { PassReport } from "../backends/kernel/reconciler.ts";
import { RtnetlinkPort } from "../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../backends/netlink/connection.ts";
import { Planner } from "../backends/planner.ts";
import type { Scope } from "../backends/state/ownership.ts";
import { leftoverDevices } from "../backends/vxlan-leftovers.ts";
import { keepAffinity } from "../ipam/affinity.ts";
import { type Clock, Nap } from "../ipam/clock.ts";
import { errorMessage } from "../ipam/errors.ts";
import { Address, entriesOf, mapFamilies, type PerFamily, type Prefix } from "../ipam/ip.ts";
import type { Logger } from "../ipam/log.ts";
import type { NetworkConfig } from "../ipam/network-config.ts";
import type { LeaseState } from "../ipam/own-lease.ts";
import type { StoreConnection, StoreHealth, StoreListing, StoreMessage, SubnetStore } from "../ipam/store.ts";
import { AgentMetrics } from "./agent-metrics.ts";
import {
  type Attachment,
  type AttachmentParts,
  attach,
  chooseFor,
  isSameAttachment,
  leaseAttrsOf,
} from "./attachment.ts";
import type { AgentConfig, FirewallSettings } from "./config.ts";
import { judgeConfig } from "./config-change.ts";
import { Enrolment } from "./enrolment.ts";
import { firewallPlanFor } from "./firewall.ts";
import { takeHostSnapshot } from "./host-facts.ts";
import { hostObjects } from "./host-objects.ts";
import { HostWatch } from "./host-watch.ts";
import type { Identity } from "./identity.ts";
import { type InstanceLock, lockInstance, lockStateDir } from "./instance-lock.ts";
import type { Metrics } from "./metrics.ts";
import { recordNetworks } from "./network-history.ts";
import { assemble, type NetworkParts } from "./network-parts.ts";
import { familiesOf, optionsOf } from "./network-support.ts";
import { RefusalLog } from "./refusal-log.ts";
import type { StatusReport } from "./status.ts";
import { statusReport } from "./status-report.ts";
import { StoreOutage } from "./store-outage.ts";
import { writeSubnetFile } from "./subnet-file.ts";
import { waitForNetworkConfig } from "./wait-for-config.ts";

export interface NetworkAgentOptions {
  readonly config: AgentConfig;
  readonly connection: StoreConnection;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly version: string;
  /** Called once, when packets can flow. */
  readonly onReady: (summary: string) => void;
}

/** What there is once the network is joined; what changes later is replaced as a whole. */
interface Joined extends NetworkParts {
  attachment: Attachment;
  subnets: PerFamily<Prefix>;
  planner: Planner;
}

export class NetworkAgent {
  readonly #options: NetworkAgentOptions;
  readonly #store: SubnetStore;
  readonly #port = RtnetlinkPort.open();
  readonly #netlink = NetlinkConnection.open();
  readonly #parts: AttachmentParts;
  readonly #refusals: RefusalLog;
  readonly #metrics: AgentMetrics;
  readonly #enrolment: Enrolment;
  readonly #hostWatch: HostWatch;
  readonly #outage = new StoreOutage();
  readonly #untilExpiry: Nap;
  readonly #locks: InstanceLock[] = [];
  #joined: Joined | null = null;
  #isReady = false;
  #firewall: FirewallSettings;
  #configProblem: string | null = null;

  constructor(options: NetworkAgentOptions) {
    const { config, connection, identity, clock, logger } = options;
    this.#options = options;
    this.#firewall = options.config.firewall;
    this.#store = connection.network(config.store.prefix);
    this.#enrolment = new Enrolment({ ...options, store: this.#store });
    this.#hostWatch = new HostWatch({ clock, logger, follow: () => this.#followHost() });
    this.#untilExpiry = new Nap(clock);
    this.#refusals = new RefusalLog(logger);
    this.#metrics = new AgentMetrics(options.metrics);
    const store = connection.remoteHost === null ? null : addressOrNull(connection.remoteHost);
    this.#parts = { settings: config.interface, store, port: this.#port, identity };
  }

  /** True while this host is a working member of its network. */
  get isReady(): boolean {
    const hasLease = this.#joined?.lease.state.state === "held";
    return this.#isReady && hasLease && this.#hostWatch.problem === null;
  }

  /** Joins the network and keeps it until `signal` fires. Throws TulleError when it cannot join. */
  async run(signal: AbortSignal): Promise<void> {
    const watch = this.#store.watch(signal, (health) => this.#noteStore(health));
    const messages = watch[Symbol.asyncIterator]();
    try {
      const { listing, networkConfig } = await waitForNetworkConfig(
        this.#store,
        messages,
        this.#options.logger,
      );
      const joined = await this.#join(networkConfig, listing, signal);
      this.#joined = joined;
      joined.peers.apply({ type: "list", ...listing }, this.#nowMs());
      joined.firewall.start();
      this.#plan(joined);
      await Promise.all([
        joined.reconciler.run(signal),
        joined.lease.run(signal),
        this.#announce(joined, signal).then(() => this.#keepAffinity(joined, signal)),
        this.#follow(joined, messages, signal),
        this.#hostWatch.run(signal),
        this.#expireHeld(joined, signal),
      ]);
    } finally {
      await messages.return?.();
      await this.#joined?.firewall.stop();
      for (const lock of this.#locks) await lock.release();
      this.#port.close();
      this.#netlink.close();
    }
  }

  /** What `tulle status` shows; null before the network is joined. */
  status(): StatusReport | null {
    const joined = this.#joined;
    if (joined === null) return null;
    const nowMs = this.#nowMs();
    return statusReport({
      version: this.#options.version,
      isReady: this.isReady,
      store: this.#store.description,
      attachment: joined.attachment,
      lease: joined.lease,
      snapshot: joined.peers.snapshot(),
      kernel: joined.reconciler.status(),
      firewall: joined.firewall.status(),
      problems: [this.#outage.problem(nowMs), this.#hostWatch.problem, this.#configProblem].filter(
        (problem) => problem !== null,
      ),
      nowMs,
    });
  }

  async #join(networkConfig: NetworkConfig, listing: StoreListing, signal: AbortSignal): Promise<Joined> {
    const { config, logger } = this.#options;
    const devices = optionsOf(networkConfig).deviceNames(familiesOf(networkConfig));
    this.#locks.push(await lockStateDir(config.files.stateDir));
    for (const [, device] of entriesOf(devices)) this.#locks.push(await lockInstance(device));
    const attachment = await this.#attachFirst(networkConfig, listing);
    const membership = await this.#enrolment.enter(attachment, listing, signal);
    const { subnets } = membership;
    const ranges = Object.values(networkConfig.families).map(({ network }) => network);
    const before = await recordNetworks(config.files.stateDir, ranges, logger);
    const parts = assemble({
      ...this.#options,
      store: this.#store,
      port: this.#port,
      attachment,
      membership,
      ranges: [...ranges, ...before],
      scope: this.#scope(attachment, subnets),
      onLease: (state) => this.#leaseChanged(state),
      onRenewal: (isSuccess) => this.#metrics.noteRenewal(isSuccess),
      onPass: (report) => this.#notePass(report),
      onHostChange: (device) => {
        if (device === this.#attachment().host.interface) this.#hostWatch.changed();
      },
      move: (stop) => this.#enrolment.move(this.#attachment(), stop),
    });
    return { ...parts, attachment, subnets, planner: this.#plannerFor(attachment) };
  }

  async #attachFirst(networkConfig: NetworkConfig, listing: StoreListing): Promise<Attachment> {
    const { logger } = this.#options;
    const snapshot = takeHostSnapshot(this.#netlink);
    const chosen = chooseFor(this.#parts, networkConfig, snapshot, null);
    logger.info("interface chosen", {
      interface: chosen.link.name,
      addresses: Object.values(chosen.publicAddresses),
      reason: chosen.reason,
    });
    for (const warning of chosen.warnings) logger.warn("interface", { warning });
    await this.#enrolment.settleIdentity(chosen, snapshot, listing);
    return await attach(this.#parts, networkConfig, chosen, snapshot);
  }

  /** Readiness follows the lease; so do device, subnet.env and firewall when it is for another subnet now. */
  #leaseChanged(state: LeaseState): void {
    if (state.state === "conflict" && state.conflict === "copied identity")
      void this.#enrolment.forsakeIdentity();
    const joined = this.#joined;
    this.#metrics.noteLease(state);
    this.#metrics.setReady(this.isReady);
    if (joined === null || joined.subnets === joined.lease.subnets) return;
    joined.subnets = joined.lease.subnets;
    joined.peers.setOwnKey(joined.lease.entry.key);
    joined.reconciler.setScope(this.#scope(joined.attachment, joined.subnets));
    this.#plan(joined);
    void this.#planFirewall(joined);
    void this.#writeSubnetFile(joined);
  }

  /** subnet.env is written once the device is there, and readiness said once all is programmed. */
  async #announce(joined: Joined, signal: AbortSignal): Promise<void> {
    const { logger, onReady } = this.#options;
    if (!(await this.#isDeviceUp(joined, signal))) return;
    await this.#writeSubnetFile(joined);
    await this.#planFirewall(joined);
    this.#isReady = true;
    this.#metrics.setReady(true);
    const { key } = joined.lease.entry;
    const count = joined.peers.peers.size;
    logger.info("ready", { lease: key, file: this.#options.config.files.subnetFile, peers: count });
    onReady(`${key} on ${joined.attachment.host.interface}, ${count} peers`);
  }

  /**
   * Waits for the pass after which the device is there; false when `signal` fired before. An entry of a peer that
   * the kernel refuses keeps nobody else waiting.
   */
  async #isDeviceUp({ reconciler }: Joined, signal: AbortSignal): Promise<boolean> {
    const isOfDevice = ({ key }: FailedChange): boolean => /^(link|address) /.test(key);
    do {
      await reconciler.passed(signal).catch(() => undefined);
    } while (!signal.aborted && reconciler.status().failures.some(isOfDevice));
    return !signal.aborted;
  }

  async #writeSubnetFile({ attachment, subnets }: Joined): Promise<void> {
    const { config, logger } = this.#options;
    const path = config.files.subnetFile;
    try {
      await writeSubnetFile(path, {
        networks: mapFamilies(attachment.networkConfig.families, ({ network }) => [network]),
        subnets: mapFamilies(subnets, ({ base, length }) => ({ address: base.plus(1), length })),
        mtuBytes: attachment.backend.mtuBytes,
        ipMasq: this.#firewall.masquerade,
      });
    } catch (error) {
      logger.error("subnet file cannot be written; containers get no network from it", {
        path,
        error: errorMessage(error),
      });
    }
  }

  async #follow(joined: Joined, messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { value: message, done } = await messages.next();
      if (done) break;
      this.#metrics.noteMessage(message);
      joined.peers.doubtStore(joined.lease.troubleMs);
      joined.peers.apply(message, this.#nowMs());
      joined.lease.observe(message);
      this.#plan(joined);
      await this.#considerConfig(joined);
    }
  }

  #noteStore(health: StoreHealth): void {
    const nowMs = this.#nowMs();
    this.#outage.note(health, nowMs);
    this.#metrics.setStoreUp(health.isFollowed);
    this.#joined?.peers.noteStore(health.isFollowed, nowMs);
    this.#untilExpiry.wake();
  }

  /** Applies a changed configuration if that harms nobody; refuses it, visibly, if it moves the network. */
  async #considerConfig(joined: Joined): Promise<void> {
    const { attachment, peers, subnets } = joined;
    const judgement = judgeConfig({ attachment, own: subnets, next: peers.config });
    const problem = peers.configProblem ?? judgement.problem;
    if (problem === null && judgement.apply !== null) await this.#reattach(joined, judgement.apply);
    if (problem !== null && problem !== this.#configProblem)
      this.#options.logger.error("network configuration", { problem });
    this.#configProblem = problem;
  }

  #attachment(): Attachment {
    if (this.#joined === null) throw new Error("a host that has not joined has no attachment");
    return this.#joined.attachment;
  }

  async #followHost(): Promise<void> {
    const joined = this.#joined;
    if (joined === null) return;
    // What failed for want of the interface need not wait for its next turn.
    if (this.#hostWatch.problem !== null) joined.reconciler.requestDump("interface may be usable again");
    await this.#reattach(joined, joined.attachment.networkConfig);
  }

  /** Looks at the host again; if anything differs, device, lease, peers and subnet.env follow. */
  async #reattach(joined: Joined, networkConfig: NetworkConfig): Promise<void> {
    const { logger, identity, connection } = this.#options;
    const { attachment: before, lease, reconciler } = joined;
    const snapshot = takeHostSnapshot(this.#netlink);
    const chosen = chooseFor(this.#parts, networkConfig, snapshot, before.host.interface);
    const after = await attach(this.#parts, networkConfig, chosen, snapshot);
    if (isSameAttachment(before, after)) return;
    logger.info("host or network options changed; following", {
      addresses: Object.values(chosen.publicAddresses),
      mtuBytes: after.backend.mtuBytes,
    });
    if (!isSameAddress(before.host, after.host)) connection.redial();
    joined.attachment = after;
    joined.planner = this.#plannerFor(after);
    await identity.setInterfaceMac(chosen.link.mac);
    lease.publish(leaseAttrsOf(after, identity.nodeId));
    joined.peers.reconfigure({
      ownAddresses: after.host.publicAddresses,
      refusePeer: (peer) => after.backend.refusePeer(peer),
      identitiesOf: (peer) => after.backend.peerIdentities(peer),
    });
    reconciler.setScope(this.#scope(after, joined.subnets));
    this.#plan(joined);
    joined.firewall.setPreference(after.networkConfig.enableNftables);
    void this.#planFirewall(joined);
    if (this.#isReady) await this.#writeSubnetFile(joined);
  }

  #plan(joined: Joined): void {
    const { peers } = joined;
    const refused = peers.refused();
    this.#metrics.setPeers(peers.peers.size, peers.heldCount, refused.size);
    this.#refusals.note(refused);
    const input = { own: joined.subnets, peers: peers.peers, changed: peers.takeChanged() };
    joined.reconciler.setDesired(joined.planner.plan(input));
    if (Number.isFinite(peers.nextDeadlineMs)) this.#untilExpiry.wake();
    if (this.#firewall.tunnelSources === "peers") void this.#planFirewall(joined);
  }

  /** Puts the firewall settings of a reload in force; subnet.env follows, for it says who masquerades. */
  setFirewall(settings: FirewallSettings): void {
    this.#firewall = settings;
    const joined = this.#joined;
    if (joined === null) return;
    joined.firewall.setResyncSeconds(settings.resyncSeconds);
    joined.planner = this.#plannerFor(joined.attachment);
    this.#plan(joined);
    void this.#planFirewall(joined);
    if (this.#isReady) void this.#writeSubnetFile(joined);
  }

  /** Never rejects: the guard reports what is wrong and tries again. */
  #planFirewall({ firewall, attachment, subnets, peers }: Joined): Promise<void> {
    const { networkConfig, backend, host } = attachment;
    const situation = { settings: this.#firewall, network: networkConfig, own: subnets, backend, host };
    return firewall.update(firewallPlanFor({ ...situation, peers: peers.peers.values() }));
  }

  /** After everything else: only hosts that come later have a use for it. */
  async #keepAffinity(joined: Joined, signal: AbortSignal): Promise<void> {
    const { clock, logger, identity } = this.#options;
    const current = () => ({
      key: joined.lease.entry.key,
      attrs: leaseAttrsOf(joined.attachment, identity.nodeId),
    });
    await keepAffinity({ store: this.#store, current, clock, logger }, signal);
  }

  async #expireHeld(joined: Joined, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#untilExpiry.take(joined.peers.nextDeadlineMs - this.#nowMs(), signal);
      if (joined.peers.expire(this.#nowMs())) this.#plan(joined);
    }
  }

  #plannerFor({ backend }: Attachment): Planner {
    return new Planner(backend, this.#port.hasNexthopObjects, (own) => hostObjects(this.#firewall, own));
  }

  #scope({ backend, host, networkConfig }: Attachment, subnets: PerFamily<Prefix>): Scope {
    const objects = [...backend.planBase(subnets), ...hostObjects(this.#firewall, subnets)];
    const devices = new Set(Object.values(backend.devices));
    const leftovers = leftoverDevices(this.#port.links(), devices, this.#options.identity.vtepMacs);
    return {
      devices: new Set([...devices, ...leftovers]),
      sharedDevices: new Set([host.interface]),
      networks: Object.values(networkConfig.families).map(({ network }) => network),
      sysctls: new Set(objects.flatMap((object) => (object.kind === "sysctl" ? [object.path] : []))),
    };
  }

  #notePass(report: PassReport): void {
    this.#metrics.notePass(report);
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

/** A name is nothing that the kernel's routes know. */
function addressOrNull(host: string): Address | null {
  try {
    return Address.parse(host);
  } catch {
    return null;
  }
}
