/**
 * One network on this host: waits for its configuration, joins it, and hands it to a JoinedNetwork.
 *
 * What happens only once stands here: locks, the choice of the interface, the identity, the lease. Nothing is
 * withdrawn when it stops.
 */

import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { Address, entriesOf, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { TulleError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import type { StoreConnection, StoreHealth, StoreListing, SubnetStore } from "../../ipam/stores/store.ts";
import type { AgentConfig, FirewallSettings } from "../config/config.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import type { Identity } from "../host/identity.ts";
import { type InstanceLock, lockFirewall, lockInstance, lockStateDir } from "../host/instance-lock.ts";
import { AgentMetrics } from "../report/agent-metrics.ts";
import type { Metrics } from "../report/metrics.ts";
import type { StatusReport } from "../report/status.ts";
import { type Attachment, type AttachmentParts, attach, chooseFor, priorUse } from "./attachment.ts";
import { Enrolment } from "./enrolment.ts";
import { JoinedNetwork } from "./joined-network.ts";
import { recordNetworks } from "./network-history.ts";
import { familiesOf, optionsOf } from "./network-support.ts";
import { StoreOutage } from "./store-outage.ts";
import { readPreviousSubnets } from "./subnet-file.ts";
import { waitForNetworkConfig } from "./wait-for-config.ts";
import { waitForInterface } from "./wait-for-interface.ts";

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
  readonly onReady: () => void;
}

export class NetworkAgent {
  readonly #options: NetworkAgentOptions;
  readonly #store: SubnetStore;
  readonly #port = RtnetlinkPort.open();
  readonly #netlink = NetlinkConnection.open();
  readonly #parts: AttachmentParts;
  readonly #metrics: AgentMetrics;
  readonly #enrolment: Enrolment;
  readonly #outage = new StoreOutage();
  readonly #locks: InstanceLock[] = [];
  #firewall: FirewallSettings;
  #joined: JoinedNetwork | null = null;

  constructor(options: NetworkAgentOptions) {
    const { config, connection, identity } = options;
    this.#options = options;
    this.#firewall = config.firewall;
    this.#store = connection.network(config.store.prefix);
    this.#enrolment = new Enrolment({ ...options, store: this.#store });
    this.#metrics = new AgentMetrics(options.metrics);
    const store = connection.remoteHost === null ? null : addressOrNull(connection.remoteHost);
    this.#parts = { settings: config.interface, store, port: this.#port, identity };
  }

  /** True while this host is a working member of its network. */
  get isReady(): boolean {
    return this.#joined?.isReady ?? false;
  }

  /** What this host is in its network, in a few words; null before it is joined. */
  get summary(): string | null {
    return this.#joined?.summary ?? null;
  }

  /** Joins the network and keeps it until `signal` fires. Throws TulleError when it cannot join. */
  async run(signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const watch = this.#store.watch(signal, (health) => this.#noteStore(health));
    const messages = watch[Symbol.asyncIterator]();
    try {
      const { listing, networkConfig } = await waitForNetworkConfig(this.#store, messages, logger);
      this.#joined = await this.#join(networkConfig, listing, signal);
      await this.#joined.run(listing, messages, signal);
    } finally {
      await messages.return?.();
      await this.#joined?.stop();
      for (const lock of this.#locks) await lock.release();
      this.#port.close();
      this.#netlink.close();
    }
  }

  /** What `tulle status` shows; null before the network is joined. */
  status(): StatusReport | null {
    return this.#joined?.status(this.#outage.problem(this.#options.clock.monotonicMs())) ?? null;
  }

  /** Puts the firewall settings of a reload in force. */
  setFirewall(settings: FirewallSettings): void {
    this.#firewall = settings;
    this.#joined?.setFirewall(settings);
  }

  async #join(
    networkConfig: NetworkConfig,
    listing: StoreListing,
    signal: AbortSignal,
  ): Promise<JoinedNetwork> {
    const { config, logger } = this.#options;
    const devices = optionsOf(networkConfig).deviceNames(familiesOf(networkConfig));
    this.#locks.push(await lockStateDir(config.files.stateDir));
    for (const [, device] of entriesOf(devices)) this.#locks.push(await lockInstance(device));
    const firewallProblem = await this.#claimFirewall();
    const lastSubnets = readPreviousSubnets(config.files.subnetFile, networkConfig, logger);
    const attachment = await this.#attach(networkConfig, listing, lastSubnets, signal);
    const membership = await this.#enrolment.enter(attachment, listing, lastSubnets, signal);
    const ranges = Object.values(networkConfig.families).map(({ network }) => network);
    const before = await recordNetworks(config.files.stateDir, ranges, logger);
    return new JoinedNetwork({
      ...this.#options,
      store: this.#store,
      port: this.#port,
      netlink: this.#netlink,
      attachmentParts: this.#parts,
      attachment,
      membership,
      ranges: [...ranges, ...before],
      metrics: this.#metrics,
      enrolment: this.#enrolment,
      firewall: this.#firewall,
      firewallProblem,
    });
  }

  /** Two daemons would write the same chains in turns: the second one leaves them alone. Answers why it does. */
  async #claimFirewall(): Promise<string | null> {
    const { config, logger } = this.#options;
    if (config.firewall.engine === "none") return null;
    try {
      this.#locks.push(await lockFirewall());
      return null;
    } catch (error) {
      if (!(error instanceof TulleError)) throw error;
      logger.error("firewall", { problem: error.message });
      return error.message;
    }
  }

  async #attach(
    networkConfig: NetworkConfig,
    listing: StoreListing,
    lastSubnets: PerFamily<Prefix> | null,
    signal: AbortSignal,
  ): Promise<Attachment> {
    const { identity, clock, logger } = this.#options;
    const prior = priorUse(listing.entries, identity.nodeId, lastSubnets);
    const { chosen, snapshot } = await waitForInterface({ clock, logger }, signal, () => {
      const snapshot = takeHostSnapshot(this.#netlink);
      return { chosen: chooseFor(this.#parts, networkConfig, snapshot, prior), snapshot };
    });
    logger.info("interface chosen", {
      interface: chosen.link.name,
      addresses: Object.values(chosen.publicAddresses),
      reason: chosen.reason,
    });
    for (const warning of chosen.warnings) logger.warn("interface", { warning });
    await this.#enrolment.settleIdentity(chosen, snapshot, listing);
    return await attach(this.#parts, networkConfig, chosen, snapshot);
  }

  #noteStore(health: StoreHealth): void {
    this.#outage.note(health, this.#options.clock.monotonicMs());
    this.#metrics.setStoreUp(health.isFollowed);
    this.#joined?.noteStore(health.isFollowed);
  }
}

/** A name is nothing that the kernel's routes know. */
function addressOrNull(host: string): Address | null {
  try {
    return Address.parse(host);
  } catch {
    return null;
  }
}
