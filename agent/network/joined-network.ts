/**
 * A network that this host has joined: keeps lease, kernel, firewall and subnet.env in step with the store and the
 * host.
 *
 * Connects the parts: store-follower.ts and reattachment.ts change the facts, desired-state.ts derives what this host
 * is to have, network-view.ts shows it. Nothing is withdrawn when it stops.
 */

import type { PassReport } from "../../backends/kernel/reconciler.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { guarded } from "../../ipam/faults.ts";
import { keepAffinity } from "../../ipam/leases/affinity.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";
import type { StoreListing, StoreMessage } from "../../ipam/stores/contracts.ts";
import type { FirewallSettings } from "../config/config.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { HostWatch } from "../host/host-watch.ts";
import { receivedPackets } from "../host/received-packets.ts";
import { type Attachment, leaseAttrsOf } from "./attachment.ts";
import { ChangeOver } from "./change-over.ts";
import { judgeConfig } from "./config-change.ts";
import { ConfigFollower } from "./config-follower.ts";
import { DesiredState } from "./desired-state.ts";
import { goneFrom } from "./gone.ts";
import type { JoinedNetworkOptions } from "./joined-network-options.ts";
import { assemble, type NetworkParts } from "./network-parts.ts";
import { NetworkView } from "./network-view.ts";
import { PeerRecord } from "./peer-record.ts";
import { PeerWatch } from "./peer-watch.ts";
import { isDevicePresent } from "./problems.ts";
import { Readiness } from "./readiness.ts";
import { ReasonLog } from "./reason-log.ts";
import { Reattachment } from "./reattachment.ts";
import { scopeOf } from "./scope.ts";
import { StoreFollower } from "./store-follower.ts";
import { SubnetFileKeeper } from "./subnet-file-keeper.ts";

export class JoinedNetwork {
  readonly #options: JoinedNetworkOptions;
  readonly #parts: NetworkParts;
  readonly #desired: DesiredState;
  readonly #storeFollower: StoreFollower;
  readonly #configFollower: ConfigFollower;
  readonly #changeOver: ChangeOver;
  readonly #hostWatch: HostWatch;
  readonly #subnetFile: SubnetFileKeeper;
  readonly #readiness: Readiness;
  readonly #watch: PeerWatch;
  readonly #conflicts: ReasonLog;
  readonly #record: PeerRecord;
  readonly view: NetworkView;
  #hasDevice = false;
  #isRecordReviewed = false;
  /** Resolves when all parts have ended, each in its own way. */
  #ended: Promise<unknown> = Promise.resolve();
  /** The device, subnet.env and the firewall have been tried once. */
  #isProgrammed = false;

  constructor(options: JoinedNetworkOptions) {
    const { runtime, settings, metrics, attachmentParts } = options;
    const { clock, random, logger, port } = runtime;
    this.#options = options;
    this.#record = new PeerRecord({ ...settings, clock, logger });
    this.#conflicts = new ReasonLog(logger, "error", "foreign object holds our key");
    const facts = {
      ...options,
      network: settings.name,
      port,
      identity: attachmentParts.identity,
      ownership: attachmentParts.ownership,
      subnets: options.membership.subnets,
      rejections: new ReasonLog(logger, "warn", "lease is rejected"),
    };
    this.#parts = this.#assemble(scopeOf(facts));
    this.#desired = new DesiredState(facts, this.#parts);
    const reattachment = this.#makeReattachment();
    this.#changeOver = this.#makeChangeOver(reattachment);
    const refresh = this.#guard("judging readiness", () => this.#refresh());
    this.#hostWatch = new HostWatch({
      clock,
      logger,
      problem: options.interfaceProblem,
      follow: () => this.#followHost(reattachment),
      onLook: refresh,
    });
    const { peers, lease } = this.#parts;
    this.#configFollower = this.#makeConfigFollower(reattachment);
    this.#storeFollower = new StoreFollower({
      clock,
      metrics,
      peers,
      lease,
      onChange: this.#guard("following peers", () => this.#peersChanged()),
      onConfig: this.#guard("following the configuration", () => this.#configFollower.changed()),
    });
    const path = settings.subnetFile;
    this.#subnetFile = new SubnetFileKeeper({ path, clock, random, logger, onChange: refresh });
    this.#readiness = new Readiness({
      logger,
      metrics,
      describe: () => ({ lease: lease.entry.key, file: path, peers: peers.peers.size }),
      onReady: options.onReady,
    });
    this.#watch = new PeerWatch(options, this.#parts, this.#desired);
    this.view = new NetworkView({
      network: options,
      parts: this.#parts,
      desired: this.#desired,
      peerWatch: this.#watch,
      hostWatch: this.#hostWatch,
      configFollower: this.#configFollower,
      subnetFile: this.#subnetFile,
      isProgrammed: () => this.#isProgrammed,
    });
    metrics.setConfigRefused(false);
  }

  /** The long-lived parts; what they report comes back here. */
  #assemble(scope: Scope): NetworkParts {
    const { store, attachmentParts, metrics, enrolment } = this.#options;
    return assemble({
      ...this.#options,
      feed: store.feed,
      identity: attachmentParts.identity,
      scope,
      onLease: this.#guard("following our lease", (state: LeaseState) => this.#leaseChanged(state)),
      onRenewal: this.#guard("counting renewals", (isSuccess: boolean) => metrics.noteRenewal(isSuccess)),
      onPass: this.#guard("reporting a pass", (report: PassReport) => this.#notePass(report)),
      onHostChange: this.#guard("watching the host", () => this.#hostWatch.changed()),
      onRunner: this.#guard("reporting the data path", () => this.#refresh()),
      move: (stop) => enrolment.move(this.#desired.attachment, stop),
    });
  }

  /** Follows the interface and the network's configuration. */
  #makeReattachment(): Reattachment {
    const { runtime, attachmentParts, onAttachment, hostFirewall, redial } = this.#options;
    const { netlink, clock, logger } = runtime;
    return new Reattachment({
      parts: attachmentParts,
      netlink,
      clock,
      logger,
      current: () => this.#desired,
      move: (after) => this.#attachTo(after),
      onLocalChange: (after) => {
        this.#desired.setLocalPrefixes(after);
        this.#watch.changed();
        onAttachment(this.#desired.attachment, hostFirewall.plans);
        this.#refresh();
      },
      onNewAddress: redial,
    });
  }

  #makeChangeOver(reattachment: Reattachment): ChangeOver {
    const { runtime, history } = this.#options;
    const { clock, logger } = runtime;
    return new ChangeOver({
      clock,
      logger,
      current: () => this.#desired.attachment,
      peers: () => this.#parts.peers.peers.values(),
      isInPlace: () => this.#isInPlace(this.#desired.attachment.backend.presentDevices),
      receivedPackets,
      turn: (change) => reattachment.turn(change),
      onAlone: async () => {
        await history.forgetFormers(this.#desired.attachment.networkConfig);
        // The former backend may have been in the fall-back's place.
        if (this.#watch.fallback !== null) this.#hostWatch.changed();
      },
    });
  }

  #makeConfigFollower(reattachment: Reattachment): ConfigFollower {
    const { runtime, enrolment, history, metrics, onRejoin } = this.#options;
    const { clock, logger } = runtime;
    const { peers } = this.#parts;
    return new ConfigFollower({
      clock,
      logger,
      judge: () => {
        const { attachment, subnets: own } = this.#desired;
        return judgeConfig({ attachment, own, next: peers.config, invalid: peers.configProblem });
      },
      apply: async (config) => {
        await reattachment.apply(config);
        await history.enter(config);
      },
      rejoin: async (config, signal) => {
        // A host that has to wait for a subnet does not follow its peers meanwhile.
        await enrolment.examine(await reattachment.examine(config), this.#desired.subnets, signal);
        logger.info("the network's families changed; joining it again", { config: config.text });
        onRejoin(this.#desired.attachment.networkConfig);
      },
      isInterfaceLost: () => this.#hostWatch.problem !== null,
      onChange: this.#guard("reporting the configuration", () =>
        metrics.setConfigRefused(this.#configFollower.problem !== null),
      ),
    });
  }

  /** `body` as a callback whose failure is reported and does not reach its caller. */
  #guard<Args extends readonly unknown[]>(part: string, body: (...args: Args) => unknown) {
    return guarded(this.#options.runtime.faults, part, body);
  }

  /**
   * Plans for what the store held when the network was joined. Call it once, before run(), which would keep the listing
   * until its end.
   */
  begin(listing: StoreListing): void {
    const { peers } = this.#parts;
    const { runtime, membership } = this.#options;
    const nowMs = runtime.clock.monotonicMs();
    const entries = listing.entries.filter(({ key }) => !membership.givenUp.includes(key));
    peers.restore(this.#record.read(entries), nowMs);
    peers.apply({ type: "list", ...listing, entries }, nowMs);
    this.#record.note(peers);
    // The network may have been joined with a former configuration.
    this.#configFollower.changed();
    const isDiverted = this.#watch.resume();
    this.#desired.peersChanged();
    // What a former run left there is in place, and packets to those peers are lost until a data path runs.
    if (isDiverted) this.#parts.runner.open();
    this.#options.onAttachment(this.#desired.attachment, this.#options.hostFirewall.plans);
  }

  /** Keeps everything in step until `signal` fires. Rejects when a part fails: the others go on until it fires. */
  async run(messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    const endMeasuring = this.#watch.measure();
    try {
      await this.#runParts(messages, signal);
    } finally {
      endMeasuring();
    }
  }

  async #runParts(messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    const { lease, reconciler } = this.#parts;
    const parts = [
      reconciler.run(signal),
      lease.run(signal),
      this.#announce(signal),
      this.#subnetFile.run(signal),
      this.#storeFollower.run(messages, signal),
      this.#configFollower.run(signal),
      this.#hostWatch.run(signal),
      this.#watch.runLimits(signal),
      this.#record.run(signal),
    ];
    this.#ended = Promise.allSettled(parts);
    await Promise.all(parts);
  }

  /** Call it once `signal` of run() has fired. */
  async stop(): Promise<void> {
    await this.#ended;
    await this.#watch.close();
    await this.#parts.runner.close();
    await this.#parts.firewall.leave(this.#options.settings.name);
  }

  /** Puts the firewall settings of a reload in force; subnet.env follows, because it names the masquerading. */
  setFirewall(settings: FirewallSettings): void {
    this.#desired.setFirewall(settings);
    this.#writeSubnetFile();
  }

  noteStore(isFollowed: boolean): void {
    this.#storeFollower.noteStore(isFollowed);
  }

  /** Has kernel and firewall compared as a whole. */
  resync(reason: string): void {
    this.#parts.reconciler.requestDump(reason);
    this.#parts.firewall.compareAll();
    void this.#desired.planFirewall();
  }

  /** The daemon's other networks changed: the rules that isolate this one follow. */
  isolationChanged(): void {
    this.#desired.isolationChanged();
  }

  /** Readiness follows the lease; device, firewall and subnet.env follow its subnets. */
  #leaseChanged(state: LeaseState): void {
    const { metrics, enrolment } = this.#options;
    const { lease } = this.#parts;
    if (state.state === "conflict" && state.conflict === "copied identity") void enrolment.discardIdentity();
    metrics.noteLease(state);
    if (!isSameSubnets(this.#desired.subnets, lease.subnets)) {
      this.#desired.moveTo(lease.subnets, lease.entry.key);
      this.#watch.changed();
      this.#writeSubnetFile();
    }
    this.#refresh();
  }

  #attachTo(after: Attachment): void {
    this.#desired.attachTo(after);
    this.#watch.changed();
    this.#options.onAttachment(after, this.#options.hostFirewall.plans);
    this.#writeSubnetFile();
    this.#refresh();
  }

  #peersChanged(): void {
    this.#record.note(this.#parts.peers);
    this.#desired.peersChanged();
    this.#watch.changed();
    this.#refresh();
  }

  async #followHost(reattachment: Reattachment): Promise<void> {
    // Changes that failed without the interface need not wait for the next retry.
    if (this.#hostWatch.problem !== null) this.#parts.reconciler.requestDump("interface may be usable again");
    await reattachment.followHost();
  }

  /**
   * subnet.env is written once the device is there. The rules need no device: their programs run meanwhile. What only
   * later hosts need follows both.
   */
  async #announce(signal: AbortSignal): Promise<void> {
    const ruled = this.#desired.planFirewall();
    if (!(await this.#untilDevice(signal))) return;
    this.#hasDevice = true;
    this.#parts.runner.open();
    await this.#subnetFile.set(this.#desired.subnetEnv);
    await ruled;
    this.#isProgrammed = true;
    this.#refresh();
    await Promise.all([this.#changeOver.run(signal), this.#keepAffinity(signal), this.#watch.run(signal)]);
  }

  #isInPlace(devices: readonly string[]): boolean {
    const { reconciler, runner } = this.#parts;
    const { parts, fallback } = this.#desired.attachment.backend;
    const problems = parts
      .filter((part) => part !== fallback?.part)
      .flatMap((part) => runner.problemsOf(part));
    return isDevicePresent(reconciler.status(), devices) && problems.length === 0;
  }

  /** Waits for a pass after which the device is there. Returns false when `signal` fired before. */
  async #untilDevice(signal: AbortSignal): Promise<boolean> {
    const { reconciler } = this.#parts;
    const isPresent = (): boolean =>
      isDevicePresent(reconciler.status(), this.#desired.attachment.backend.mainDevices);
    do {
      await reconciler.passed(signal).catch(() => undefined);
    } while (!signal.aborted && !isPresent());
    return !signal.aborted;
  }

  async #keepAffinity(signal: AbortSignal): Promise<void> {
    const { store, runtime, attachmentParts } = this.#options;
    const current = () => {
      const { entry, state } = this.#parts.lease;
      const attrs = leaseAttrsOf(this.#desired.attachment, attachmentParts.identity.nodeId);
      const { key, createRevision } = entry;
      return state.state === "conflict" ? null : { key, attrs, createRevision };
    };
    await keepAffinity({ ...runtime, records: store.records, current }, signal);
  }

  #writeSubnetFile(): void {
    if (this.#hasDevice) void this.#subnetFile.set(this.#desired.subnetEnv);
  }

  #notePass(report: PassReport): void {
    const { metrics, runtime } = this.#options;
    metrics.notePass(report);
    this.#conflicts.note(this.#parts.reconciler.status().conflicts);
    const { applied, repaired, failed, durationMs } = report;
    const roundedMs = Math.round(durationMs * 10) / 10;
    runtime.logger.debug("pass", { applied, repaired, failed, durationMs: roundedMs });
    this.#refresh();
    if (failed === 0) this.#reviewRecord();
  }

  /** Once, after a pass that removed what a former run left behind. */
  #reviewRecord(): void {
    const { runtime, attachmentParts } = this.#options;
    const { ownership } = attachmentParts;
    if (this.#isRecordReviewed) return;
    this.#isRecordReviewed = true;
    if (ownership.hasInherited) void ownership.forget(goneFrom(takeHostSnapshot(runtime.netlink)));
  }

  #refresh(): void {
    this.#readiness.update(this.view.problems);
  }
}

function isSameSubnets(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return Object.values(a).join() === Object.values(b).join();
}
