/**
 * One network on this host: waits for its configuration, joins it, and runs it as a JoinedNetwork.
 *
 * Does what happens once: locks, the choice of the interface, the identity, the lease. Nothing is withdrawn when it
 * stops.
 */

import { setMaxListeners } from "node:events";
import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { Address, mapFamilies, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { NoFreeSubnetError, TulleError } from "../../ipam/errors.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import { AllocatingClaimer } from "../../ipam/leases/allocating-claimer.ts";
import type { LeaseClaimer } from "../../ipam/leases/claimer.ts";
import { type PartSignal, partOf } from "../../ipam/part-signal.ts";
import type {
  NetworkStore,
  StoreConnection,
  StoreHealth,
  StoreListing,
  StoreMessage,
} from "../../ipam/stores/contracts.ts";
import type { FirewallSettings } from "../config/config.ts";
import { Diversions } from "../fallback/diversions.ts";
import { interfaceNames, publicAddressesOf, reasonsOf, warningsOf } from "../host/choose-interface.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import type { Identity } from "../host/identity.ts";
import { type InstanceLock, lockInstance } from "../host/instance-lock.ts";
import { resolveHosts } from "../host/resolve-hosts.ts";
import type { TargetList } from "../probes/target-list.ts";
import { AgentMetrics } from "../report/agent-metrics.ts";
import { rememberProblem } from "../report/last-problem.ts";
import type { NetworkSummary } from "../report/status.ts";
import { type Attachment, type AttachmentParts, askedByLease, attach, ownLeaseIn } from "./attachment.ts";
import { ConfigHistory } from "./config-history.ts";
import { Enrolment } from "./enrolment.ts";
import { fallbackConfig } from "./fallback-carrier.ts";
import type { HostFirewall } from "./host-firewall.ts";
import { JoinedNetwork } from "./joined-network.ts";
import type { JoinedNetworkOptions } from "./joined-network-options.ts";
import { recordNetworks } from "./network-history.ts";
import type { NetworkSettings } from "./network-settings.ts";
import { optionsOf } from "./network-support.ts";
import { Ownership } from "./ownership.ts";
import { isReady, type Problem } from "./problems.ts";
import { Provisions } from "./provisions.ts";
import type { Runtime } from "./runtime.ts";
import type { ShownNetwork } from "./shown-network.ts";
import { chooseAtStart } from "./start-choice.ts";
import { StoreOutage } from "./store-outage.ts";
import { readPreviousSubnets } from "./subnet-file.ts";
import { waitForNetworkConfig } from "./wait-for-config.ts";
import { waitForInterface } from "./wait-for-interface.ts";

export interface NetworkAgentOptions {
  readonly runtime: Runtime;
  readonly settings: NetworkSettings;
  readonly connection: StoreConnection;
  readonly identity: Identity;
  readonly version: string;
  /** What this host says of itself to people. */
  readonly profile: HostProfile;
  readonly hostFirewall: HostFirewall;
  /** Ranges of the daemon's other networks. */
  readonly isolated: () => readonly Prefix[];
  /** Called when `ranges` has changed. */
  readonly onRanges: () => void;
  /** Called when this host's interface, addresses or local prefixes are known or have changed. */
  readonly onAttachment: (attachment: Attachment, plans: JointPlans) => void;
  /** What is wrong beside the network on this host, one sentence each, for its status. */
  readonly hostProblems: () => readonly string[];
  /** Called once, when packets can flow. */
  readonly onReady: () => void;
}

export class NetworkAgent {
  readonly #options: NetworkAgentOptions;
  readonly #runtime: Runtime;
  readonly #store: NetworkStore;
  #parts: AttachmentParts;
  readonly #metrics: AgentMetrics;
  readonly #claimer: LeaseClaimer;
  readonly #enrolment: Enrolment;
  readonly #outage = new StoreOutage();
  readonly #history: ConfigHistory;
  /** By what they lock. */
  readonly #locks = new Map<string, InstanceLock>();
  /** What joining waits for: the last problem that it logged. */
  readonly #waitingFor: () => string | null;
  #firewall: FirewallSettings;
  #ranges: readonly Prefix[] = [];
  #joined: JoinedNetwork | null = null;
  #wasJoined = false;
  /** From one joining of the network to the next. */
  #round: PartSignal | null = null;
  /** In force before the network was left to join it again with another one; null at a start. */
  #formerConfig: NetworkConfig | null = null;

  constructor(options: NetworkAgentOptions) {
    const { settings, connection, identity } = options;
    const { logger, last } = rememberProblem(options.runtime.logger);
    this.#options = options;
    this.#waitingFor = last;
    this.#runtime = { ...options.runtime, logger };
    this.#firewall = settings.firewall;
    this.#store = connection.network(settings.prefix);
    const { ttlSeconds } = settings.lease;
    const { clock } = options.runtime;
    this.#claimer = new AllocatingClaimer({ store: this.#store, ttlSeconds, clock, logger });
    this.#enrolment = new Enrolment({
      runtime: this.#runtime,
      claimer: this.#claimer,
      feed: this.#store.feed,
      identity,
    });
    this.#metrics = new AgentMetrics(options.runtime.metrics);
    this.#history = new ConfigHistory(settings, options.runtime.logger);
    const store = connection.remoteHost === null ? null : Address.parseOrNull(connection.remoteHost);
    this.#parts = {
      network: settings.name,
      diversions: settings.fallback === "none" ? null : new Diversions(),
      settings: settings.interface,
      store,
      storeAddresses: [],
      port: this.#runtime.port,
      identity,
      ownership: new Ownership(settings, options.runtime.logger),
      provisions: new Provisions(settings, options.runtime.logger),
    };
  }

  /** Null for the first network. */
  get name(): string | null {
    return this.#options.settings.name;
  }

  /** The prefixes of its containers; empty before it is joined. */
  get ranges(): readonly Prefix[] {
    return this.#ranges;
  }

  /** True once this host has had a lease in it. */
  get wasJoined(): boolean {
    return this.#wasJoined;
  }

  /** True while this host has a lease that cannot have expired. */
  get isLeaseHeld(): boolean {
    return this.#joined?.view.isLeaseHeld ?? false;
  }

  /** The problems that take part in readiness; empty when this host is a working member. */
  get problems(): readonly Problem[] {
    return this.#joined?.view.problems ?? [{ text: this.#unjoinedReason(), isBlocking: true }];
  }

  /** Joins the network and keeps it until `signal` fires. Throws TulleError when it cannot join. */
  async run(signal: AbortSignal): Promise<void> {
    do {
      this.#round = partOf(signal);
      await this.#joinAndRun(this.#round);
    } while (!signal.aborted);
  }

  /** Until `round` ends: with the agent, when a part of the network fails, and when it is to be joined again. */
  async #joinAndRun({ signal, end }: PartSignal): Promise<void> {
    setMaxListeners(0, signal); // each part of the network listens
    const watch = this.#store.feed.watch(signal, (health) => this.#noteStore(health));
    const messages = watch[Symbol.asyncIterator]();
    try {
      const joined = await this.#beginJoined(messages, signal);
      await joined.run(messages, signal);
    } finally {
      // Where one part has failed the others end before the network is joined again, and so does the watch, whose next
      // message may be hours away.
      end();
      await messages.return?.();
      await this.#joined?.stop();
      this.#joined = null;
      for (const lock of this.#locks.values()) await lock.release();
      this.#locks.clear();
    }
  }

  /** A method of its own: one that waits for the network's end would keep the listing until then. */
  async #beginJoined(messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<JoinedNetwork> {
    const found = await waitForNetworkConfig(this.#store, messages, this.#runtime, signal);
    const { listing, networkConfig } = found;
    // The watch of this joining reports its own failures only, and the end of the former one is none.
    if (this.#outage.reason !== null) this.#noteStore({ isFollowed: true });
    const joined = await this.#joinOrStay(networkConfig, listing, signal);
    this.#joined = joined;
    this.#wasJoined = true;
    joined.begin(listing);
    return joined;
  }

  /** One line without a full stop: what this host is in the network, or why it is not ready. */
  get summary(): string {
    const blocker = this.problems.find(({ isBlocking }) => isBlocking);
    if (this.#joined === null) return this.#unjoinedReason();
    return blocker === undefined ? this.#joined.view.summary : `not ready: ${blocker.text}`;
  }

  /** What the control socket shows. */
  report(): NetworkSummary {
    const { clock } = this.#runtime;
    const storeProblem = this.#outage.problem(clock.monotonicMs());
    const { name } = this;
    const { version, hostProblems } = this.#options;
    const status =
      this.#joined?.view.status({ name, version, storeProblem, hostProblems: hostProblems() }) ?? null;
    return { name, isReady: isReady(this.problems), summary: this.summary, status };
  }

  /** What the page shows; null before the network is joined. */
  get shown(): ShownNetwork | null {
    return this.#joined?.view.shown ?? null;
  }

  /** What there is to probe; null before the network is joined. */
  get targets(): TargetList | null {
    return this.#joined?.view.targets ?? null;
  }

  /** Puts the firewall settings of a reload in force. */
  setFirewall(settings: FirewallSettings): void {
    this.#firewall = settings;
    this.#joined?.setFirewall(settings);
  }

  /** Has kernel and firewall compared as a whole. */
  resync(reason: string): void {
    this.#joined?.resync(reason);
  }

  /** The daemon's other networks changed their ranges. */
  isolationChanged(): void {
    this.#joined?.isolationChanged();
  }

  #unjoinedReason(): string {
    const { reason } = this.#outage;
    return reason === null ? (this.#waitingFor() ?? "starting") : `the store is out of reach: ${reason}`;
  }

  /** With the former configuration where the network has no subnet for this host by the newest one: its lease goes on. */
  async #joinOrStay(
    networkConfig: NetworkConfig,
    listing: StoreListing,
    signal: AbortSignal,
  ): Promise<JoinedNetwork> {
    const ownLease = ownLeaseIn(listing.entries, this.#parts.identity.nodeId, null);
    const former = this.#formerConfig ?? this.#history.beforeFamiliesOf(networkConfig, ownLease);
    this.#formerConfig = null;
    try {
      return await this.#join(networkConfig, listing, signal, former !== null);
    } catch (error) {
      if (former === null || !(error instanceof NoFreeSubnetError)) throw error;
      return await this.#join(former, await this.#store.feed.list(signal), signal);
    }
  }

  async #join(
    networkConfig: NetworkConfig,
    listing: StoreListing,
    signal: AbortSignal,
    mayFail = false,
  ): Promise<JoinedNetwork> {
    const { settings, connection, hostFirewall, onRanges } = this.#options;
    const { logger } = this.#runtime;
    const networks = mapFamilies(networkConfig.families, ({ network }) => network);
    await this.#lock(networkConfig);
    const claimed = await hostFirewall.claim();
    this.#parts = { ...this.#parts, storeAddresses: await resolveHosts(connection.remoteHosts) };
    const lastSubnets = readPreviousSubnets(settings.subnetFile, networkConfig, logger);
    const { attachment, interfaceProblem } = await this.#attach(networkConfig, listing, lastSubnets, signal);
    const membership = await this.#enrolment.enter(attachment, listing, lastSubnets, signal, mayFail);
    const ranges = Object.values(networks);
    const before = await recordNetworks(settings, ranges, logger);
    this.#ranges = ranges;
    onRanges();
    return this.#joinedWith({
      attachment,
      interfaceProblem,
      membership,
      ranges: [...ranges, ...before],
      hostFirewall: claimed,
    });
  }

  /** Functions that an asynchronous one makes keep all its variables in JavaScriptCore: here the listing. */
  #joinedWith(
    found: Pick<
      JoinedNetworkOptions,
      "attachment" | "interfaceProblem" | "membership" | "ranges" | "hostFirewall"
    >,
  ): JoinedNetwork {
    const { settings, connection, isolated, onAttachment, onReady, profile } = this.#options;
    return new JoinedNetwork({
      ...found,
      runtime: { ...this.#runtime, logger: this.#options.runtime.logger },
      settings,
      store: this.#store,
      claimer: this.#claimer,
      metrics: this.#metrics,
      attachmentParts: this.#parts,
      enrolment: this.#enrolment,
      history: this.#history,
      isolated,
      firewall: this.#firewall,
      redial: () => connection.redial(),
      onAttachment,
      onReady,
      onRejoin: (former) => {
        this.#formerConfig = former;
        this.#round?.end();
      },
      profile,
    });
  }

  async #attach(
    networkConfig: NetworkConfig,
    listing: StoreListing,
    lastSubnets: PerFamily<Prefix> | null,
    signal: AbortSignal,
  ): Promise<Pick<JoinedNetworkOptions, "attachment" | "interfaceProblem">> {
    const { logger, netlink } = this.#runtime;
    const { chosen, failure, snapshot } = await waitForInterface(this.#runtime, signal, () => {
      const snapshot = takeHostSnapshot(netlink);
      return { ...chooseAtStart(this.#parts, networkConfig, listing, lastSubnets, snapshot), snapshot };
    });
    const interfaceProblem = failure?.message ?? null;
    if (interfaceProblem !== null)
      logger.error("an address is missing; its family waits for it", { error: interfaceProblem });
    logger.info("interface chosen", {
      interface: interfaceNames(chosen),
      addresses: Object.values(publicAddressesOf(chosen)),
      reason: reasonsOf(chosen),
    });
    for (const warning of warningsOf(chosen)) logger.warn("interface", { warning });
    await this.#enrolment.settleIdentity(chosen, snapshot, listing);
    const formers = await this.#lockedFormers(await this.#history.enter(networkConfig));
    if (this.#parts.diversions !== null)
      await this.#lock(fallbackConfig(networkConfig), "start this one without --fallback");
    const choice = { present: networkConfig, formers, main: networkConfig };
    const attachment = await attach(this.#parts, choice, chosen, snapshot);
    const ownLease = ownLeaseIn(listing.entries, this.#parts.identity.nodeId, lastSubnets);
    return { attachment: askedByLease(attachment, ownLease), interfaceProblem };
  }

  /** Those of the former configurations whose names no other network of this host has. */
  async #lockedFormers(formers: readonly NetworkConfig[]): Promise<readonly NetworkConfig[]> {
    const locked: NetworkConfig[] = [];
    for (const former of formers) {
      try {
        await this.#lock(former);
        locked.push(former);
      } catch (error) {
        if (!(error instanceof TulleError)) throw error;
        const { type } = former.backend;
        this.#runtime.logger.info("the former backend is not kept", { type, reason: error.message });
      }
    }
    return locked;
  }

  async #lock(config: NetworkConfig, remedy?: string): Promise<void> {
    const networks = mapFamilies(config.families, ({ network }) => network);
    for (const name of optionsOf(config).lockNames(networks)) {
      if (!this.#locks.has(name)) this.#locks.set(name, await lockInstance(name, remedy));
    }
  }

  #noteStore(health: StoreHealth): void {
    this.#outage.note(health, this.#runtime.clock.monotonicMs());
    this.#metrics.setStoreUp(health.isFollowed);
    this.#joined?.noteStore(health.isFollowed);
  }
}
