/**
 * One network on this host, from its configuration in the store to objects in the kernel.
 *
 * Wires the parts and owns no policy: the peer table decides who is a peer, the backend what they need, the
 * reconciler what to do about it. Nothing is withdrawn when it stops.
 */

import type { BackendOptions, DeviceIdentity, HostFacts, PreparedBackend } from "../backends/backend.ts";
import { FirewallGuard } from "../backends/firewall/guard.ts";
import { type PassReport, Reconciler } from "../backends/kernel/reconciler.ts";
import { RtnetlinkPort } from "../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../backends/netlink/connection.ts";
import { Planner } from "../backends/planner.ts";
import { backendFor } from "../backends/registry.ts";
import type { KernelObject } from "../backends/state/objects.ts";
import type { Scope } from "../backends/state/ownership.ts";
import type { Clock } from "../ipam/clock.ts";
import { ConfigError, errorMessage, UnsupportedError } from "../ipam/errors.ts";
import { Address, entriesOf, type Family, mapFamilies } from "../ipam/ip.ts";
import { join, type Membership } from "../ipam/join.ts";
import type { LeaseAttrs, LeaseSnapshot } from "../ipam/lease.ts";
import type { Logger } from "../ipam/log.ts";
import type { NetworkConfig } from "../ipam/network-config.ts";
import { parseNetworkConfig } from "../ipam/network-config-parser.ts";
import { OwnLease } from "../ipam/own-lease.ts";
import { PeerTable } from "../ipam/peer-table.ts";
import type { StoreConnection, StoreListing, StoreMessage, SubnetStore } from "../ipam/store.ts";
import { type ChosenInterface, chooseInterface, type HostSnapshot } from "./choose-interface.ts";
import type { AgentConfig } from "./config.ts";
import { firewallPlanFor } from "./firewall.ts";
import { takeHostSnapshot } from "./host-facts.ts";
import type { Identity } from "./identity.ts";
import { type InstanceLock, lockInstance } from "./instance-lock.ts";
import type { Metrics } from "./metrics.ts";
import type { StatusReport } from "./status.ts";
import { readPreviousSubnets, writeSubnetFile } from "./subnet-file.ts";
import { hostFactsOf, settleDeviceMacs } from "./tunnel-host.ts";

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

/** Everything that is fixed once the network is joined. */
interface Joined {
  readonly networkConfig: NetworkConfig;
  readonly chosen: ChosenInterface;
  readonly host: HostFacts;
  readonly backend: PreparedBackend;
  readonly membership: Membership;
  readonly lease: OwnLease;
  readonly peers: PeerTable;
  readonly planner: Planner;
  readonly reconciler: Reconciler;
  readonly firewall: FirewallGuard;
}

export class NetworkAgent {
  readonly #options: NetworkAgentOptions;
  readonly #store: SubnetStore;
  readonly #port = RtnetlinkPort.open();
  readonly #netlink = NetlinkConnection.open();
  readonly #locks: InstanceLock[] = [];
  #joined: Joined | null = null;
  #isReady = false;
  #configProblem: string | null = null;

  constructor(options: NetworkAgentOptions) {
    this.#options = options;
    this.#store = options.connection.network(options.config.store.prefix);
  }

  /** True while this host is a working member of its network. */
  get isReady(): boolean {
    return this.#isReady && this.#joined?.lease.state.state === "held";
  }

  /** Joins the network and keeps it until `signal` fires. Throws TulleError when it cannot join. */
  async run(signal: AbortSignal): Promise<void> {
    const messages = this.#store.watch(signal)[Symbol.asyncIterator]();
    try {
      const { listing, networkConfig } = await this.#waitForConfig(messages);
      const joined = await this.#join(networkConfig, listing, signal);
      this.#joined = joined;
      joined.peers.apply({ type: "list", ...listing }, this.#nowMs());
      joined.firewall.start();
      this.#plan(joined);
      const running = [
        joined.reconciler.run(signal),
        joined.lease.run(signal),
        this.#announce(joined, signal),
        this.#follow(joined, messages, signal),
      ];
      await Promise.all(running);
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
    const snapshot = joined.peers.snapshot();
    const kernel = joined.reconciler.status();
    const { lease } = joined;
    const secondsLeft = Math.max(0, Math.round((lease.deadlineMs - this.#nowMs()) / 1000));
    return {
      version: this.#options.version,
      isReady: this.isReady,
      store: this.#store.description,
      interface: {
        name: joined.host.interface,
        publicAddress: Object.values(joined.host.publicAddresses).join(", "),
        reason: joined.chosen.reason,
      },
      network: {
        ranges: Object.values(joined.networkConfig.families).map(({ network }) => network.toString()),
        backend: joined.backend.type,
      },
      lease: {
        key: lease.entry.key,
        state: lease.state.state,
        reason: lease.state.state === "held" ? null : lease.state.reason,
        secondsLeft: Number.isFinite(secondsLeft) ? secondsLeft : null,
      },
      devices: Object.values(joined.backend.devices).map((name) => ({
        name,
        mtuBytes: joined.backend.mtuBytes,
      })),
      peers: [...snapshot.peers.values()].map((peer) => ({
        key: peer.key,
        publicAddress: Object.values(peer.attrs.publicAddress).join(", "),
        path: joined.backend.pathTo(peer),
        isHeld: snapshot.held.has(peer.key),
      })),
      refused: [...snapshot.refused.values()],
      kernel,
      problems: this.#problems(joined, snapshot),
    };
  }

  #problems(joined: Joined, snapshot: LeaseSnapshot): string[] {
    const { lease } = joined;
    const kernel = joined.reconciler.status();
    return [
      ...(lease.state.state === "held"
        ? []
        : [`our lease ${lease.entry.key} is lost: ${lease.state.reason}`]),
      ...(this.#configProblem === null ? [] : [this.#configProblem]),
      ...(snapshot.held.size === 0
        ? []
        : [`${snapshot.held.size} vanished peers are kept for the hold-down`]),
      ...[...snapshot.refused.values()].map(({ reason }) => reason),
      ...kernel.conflicts.map(({ key, reason }) => `${key}: ${reason}`),
      ...kernel.failures.map(({ message }) => message),
      ...firewallProblems(joined.firewall),
      ...kernel.contended.map(({ key, repairs }) => `${key} was undone ${repairs} times by somebody else`),
    ];
  }

  /** The first listing with a valid configuration; says once what is missing or wrong. */
  async #waitForConfig(
    messages: AsyncIterator<StoreMessage>,
  ): Promise<{ listing: StoreListing; networkConfig: NetworkConfig }> {
    const { logger } = this.#options;
    let said: string | null = null;
    for (;;) {
      const { value: message, done } = await messages.next();
      if (done) throw new ConfigError("stopped before the network had a configuration");
      const text = configTextIn(message);
      if (text === undefined) continue;
      let problem = `there is none; write it with "tulle net init" or to <prefix>/config`;
      if (text !== null) {
        try {
          const networkConfig = parseNetworkConfig(text);
          const listing =
            message.type === "list" ? message : await this.#store.list(AbortSignal.timeout(30_000));
          return { listing, networkConfig };
        } catch (error) {
          problem = errorMessage(error);
        }
      }
      if (problem !== said)
        logger.warn("waiting for a network configuration", { store: this.#store.description, problem });
      said = problem;
    }
  }

  async #join(networkConfig: NetworkConfig, listing: StoreListing, signal: AbortSignal): Promise<Joined> {
    const { config, identity, logger, clock, random } = this.#options;
    const families = familiesOf(networkConfig);
    const options = backendFor(networkConfig).parseOptions(networkConfig.backend.options);
    const devices = options.deviceNames(families);
    for (const [, device] of entriesOf(devices)) this.#locks.push(await lockInstance(device));
    const snapshot = takeHostSnapshot(this.#netlink);
    const chosen = this.#choose(families, snapshot);
    const host = hostFactsOf(chosen, snapshot);
    await this.#settleIdentity(chosen, listing);
    const macs: DeviceIdentity = await settleDeviceMacs(
      this.#port,
      options,
      vniOf(options),
      devices,
      identity,
    );
    const backend = options.prepare(host, families, macs);
    const attrs: LeaseAttrs = {
      publicAddress: host.publicAddresses,
      backendType: backend.type,
      backendData: backend.leaseData,
      nodeId: identity.nodeId,
    };
    const previous = await readPreviousSubnets(config.files.subnetFile, networkConfig, logger);
    const { ttlSeconds, renewMarginSeconds } = config.lease;
    const membership = await join(
      { store: this.#store, config: networkConfig, attrs, previous, ttlSeconds, logger },
      listing,
      signal,
    );
    logger.info("joined the network", {
      lease: membership.entry.key,
      origin: membership.origin,
      mac: Object.values(devices).map((device) => macs.macFor(device)),
    });
    const lease = new OwnLease(
      {
        store: this.#store,
        attrs,
        ttlSeconds,
        renewMarginSeconds,
        clock,
        logger,
        random,
        onState: () => this.#options.metrics.set("tulle_ready", this.isReady ? 1 : 0),
      },
      membership.entry,
    );
    const peers = new PeerTable({
      networks: Object.values(networkConfig.families).map(({ network }) => network),
      ownAddresses: host.publicAddresses,
      holdDownMs: config.lease.holdDownSeconds * 1000,
      refusePeer: (peer) => backend.refusePeer(peer),
      identitiesOf: (peer) => backend.peerIdentities(peer),
    });
    peers.setOwnKey(membership.entry.key);
    const extra = config.firewall.enableForwarding ? [GLOBAL_FORWARDING] : [];
    const planner = new Planner(backend, this.#port.hasNexthopObjects, extra);
    const scope = scopeOf(backend, host, networkConfig, membership, extra);
    const reconciler = new Reconciler({
      port: this.#port,
      scope,
      clock,
      logger,
      random,
      onPass: (report) => this.#count(report),
    });
    const firewall = new FirewallGuard({
      choice: config.firewall.engine,
      prefersNft: networkConfig.enableNftables,
      resyncSeconds: config.firewall.resyncSeconds,
      log: logger,
    });
    return { networkConfig, chosen, host, backend, membership, lease, peers, planner, reconciler, firewall };
  }

  #choose(families: readonly Family[], snapshot: HostSnapshot): ChosenInterface {
    const { config, connection, logger } = this.#options;
    const chosen = chooseInterface(config.interface, families, snapshot, parsedOrNull(connection.remoteHost));
    logger.info("interface chosen", {
      interface: chosen.link.name,
      addresses: Object.values(chosen.publicAddresses),
      reason: chosen.reason,
    });
    for (const warning of chosen.warnings) logger.warn("interface", { warning });
    return chosen;
  }

  /** The state of a copied disk: same node id, but neither the hardware nor the address it belongs to. */
  async #settleIdentity(chosen: ChosenInterface, listing: StoreListing): Promise<void> {
    const { identity, logger } = this.#options;
    const { mac } = chosen.link;
    const moved = identity.interfaceMac !== null && identity.interfaceMac !== mac;
    const addresses = Object.values(chosen.publicAddresses).map(String);
    const other = listing.entries.find(({ value }) => value.includes(identity.nodeId));
    if (moved && other !== undefined && !addresses.some((address) => other.value.includes(`"${address}"`))) {
      logger.warn(
        "this host's identity is that of another host, from whose disk it was copied; taking a new one",
        { lease: other.key },
      );
      await identity.renew();
    }
    await identity.setInterfaceMac(mac);
  }

  /** subnet.env is written once the device is there, and readiness said once all is programmed. */
  async #announce(joined: Joined, signal: AbortSignal): Promise<void> {
    const { config, logger, metrics, onReady } = this.#options;
    try {
      await Promise.all([joined.reconciler.settled(signal), this.#planFirewall(joined)]);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const { networkConfig, membership, backend } = joined;
    const path = config.files.subnetFile;
    const env = {
      networks: mapFamilies(networkConfig.families, ({ network }) => [network]),
      subnets: mapFamilies(membership.subnets, ({ base, length }) => ({ address: base.plus(1), length })),
      mtuBytes: backend.mtuBytes,
      ipMasq: config.firewall.masquerade,
    };
    try {
      await writeSubnetFile(path, env);
    } catch (error) {
      logger.error("subnet file cannot be written; containers get no network from it", {
        path,
        error: errorMessage(error),
      });
    }
    this.#isReady = true;
    metrics.set("tulle_ready", 1);
    const summary = `${membership.entry.key} on ${joined.host.interface}, ${joined.peers.snapshot().peers.size} peers`;
    logger.info("ready", { lease: membership.entry.key, file: path });
    onReady(summary);
  }

  async #follow(joined: Joined, messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    const hold = this.#expireHeld(joined, signal);
    while (!signal.aborted) {
      const { value: message, done } = await messages.next();
      if (done) break;
      joined.peers.apply(message, this.#nowMs());
      this.#watchOwn(joined, message);
      this.#noteConfig(joined);
      this.#plan(joined);
    }
    await hold;
  }

  #watchOwn({ lease }: Joined, message: StoreMessage): void {
    const { key } = lease.entry;
    if (message.type === "list") lease.observe(message.entries.find((entry) => entry.key === key) ?? null);
    else {
      for (const change of message.changes) {
        if (change.type === "put" && change.entry.key === key) lease.observe(change.entry);
        else if (change.type === "delete" && change.key === key) lease.observe(null);
      }
    }
  }

  /** A changed configuration is applied at the next start: moving a network under traffic is nobody's wish. */
  #noteConfig({ peers, networkConfig }: Joined): void {
    const next = peers.snapshot().config;
    let problem = peers.configProblem;
    if (problem === null && next !== null && next.text !== networkConfig.text) {
      problem = "the network's configuration changed in the store; restart this daemon to apply it";
    }
    if (problem !== null && problem !== this.#configProblem)
      this.#options.logger.error("network configuration", { problem });
    this.#configProblem = problem;
  }

  #plan(joined: Joined): void {
    const { metrics } = this.#options;
    const snapshot = joined.peers.snapshot();
    metrics.set("tulle_peers", snapshot.peers.size);
    metrics.set("tulle_peers_held", snapshot.held.size);
    metrics.set("tulle_leases_refused", snapshot.refused.size);
    this.#logRefused(snapshot);
    joined.reconciler.setDesired(
      joined.planner.plan({ own: joined.membership.subnets, peers: snapshot.peers }),
    );
    if (this.#options.config.firewall.tunnelSources === "peers") void this.#planFirewall(joined);
  }

  /** Never rejects: the guard reports what is wrong and tries again. */
  #planFirewall({ firewall, networkConfig, membership, backend, host, peers }: Joined): Promise<void> {
    const { firewall: settings } = this.#options.config;
    const situation = { settings, network: networkConfig, own: membership.subnets, backend, host };
    return firewall.update(firewallPlanFor({ ...situation, peers: peers.snapshot().peers.values() }));
  }

  #said = new Map<string, string>();

  #logRefused({ refused }: LeaseSnapshot): void {
    for (const { key, reason } of refused.values()) {
      if (this.#said.get(key) !== reason) this.#options.logger.warn("lease is not used", { reason });
    }
    this.#said = new Map([...refused.values()].map(({ key, reason }) => [key, reason]));
  }

  async #expireHeld(joined: Joined, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(1000, signal).catch(() => undefined);
      if (joined.peers.expire(this.#nowMs())) this.#plan(joined);
    }
  }

  #count({ applied, repaired, durationMs, wasDump, failed }: PassReport): void {
    const { metrics, logger } = this.#options;
    metrics.add("tulle_passes_total", 1);
    metrics.observe("tulle_pass_seconds", durationMs / 1000);
    if (wasDump) metrics.add("tulle_resyncs_total", 1);
    for (const [kind, count] of Object.entries(repaired))
      metrics.add("tulle_drift_repaired_total", count, { kind });
    logger.debug("pass", { applied, repaired, failed, durationMs: Math.round(durationMs * 10) / 10 });
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}

const GLOBAL_FORWARDING: KernelObject = {
  kind: "sysctl",
  path: "net/ipv4/ip_forward",
  device: null,
  value: "1",
};

function firewallProblems(firewall: FirewallGuard): string[] {
  const { lastError } = firewall.status();
  return lastError === null ? [] : [`firewall: ${lastError}`];
}

/** What this version runs. Throws UnsupportedError rather than silently doing half. */
function familiesOf(config: NetworkConfig): Family[] {
  if (config.families[6] !== undefined) {
    throw new UnsupportedError("network config: EnableIPv6 is not in this version of tulle; set it to false");
  }
  if (config.families[4] === undefined)
    throw new ConfigError("network config: EnableIPv4 is false; set it to true");
  return [4];
}

function vniOf(options: BackendOptions): number {
  return "vni" in options && typeof options.vni === "number" ? options.vni : 0;
}

function scopeOf(
  backend: PreparedBackend,
  host: HostFacts,
  config: NetworkConfig,
  membership: Membership,
  extra: readonly KernelObject[],
): Scope {
  const objects = [...backend.planBase(membership.subnets), ...extra];
  return {
    devices: new Set(Object.values(backend.devices)),
    sharedDevices: new Set([host.interface]),
    networks: Object.values(config.families).map(({ network }) => network),
    sysctls: new Set(objects.flatMap((object) => (object.kind === "sysctl" ? [object.path] : []))),
  };
}

/** The configuration that a message carries: undefined when it says nothing of it. */
function configTextIn(message: StoreMessage): string | null | undefined {
  if (message.type === "list") return message.config;
  const change = message.changes.findLast((candidate) => candidate.type === "config");
  return change?.type === "config" ? change.value : undefined;
}

function parsedOrNull(host: string | null): Address | null {
  if (host === null) return null;
  try {
    return Address.parse(host);
  } catch {
    return null; // a name: the kernel's routes know addresses only
  }
}
