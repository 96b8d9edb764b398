/**
 * The data plane of the named networks on this host: follows their view, and keeps devices, entries and rules of those
 * that this host has members in. Knows no container engine.
 *
 * Everything else of the daemon's networks is apart: a reconciler of its own, with a scope that holds the devices of
 * named networks and nothing else.
 */

import { isDeepStrictEqual } from "node:util";
import { findLink } from "../../backends/attachment/links.ts";
import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import type { FirewallInput } from "../../backends/firewall/plan-input.ts";
import { Reconciler, type ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import { type SegmentDevices, segmentDevices } from "../../backends/segments/names.ts";
import { type PlannedSegment, SegmentPlanner } from "../../backends/segments/planner.ts";
import type { SegmentFacts } from "../../backends/segments/segment.ts";
import { linkKey } from "../../backends/state/kinds/link.ts";
import { ConflictError } from "../../ipam/errors.ts";
import { guarded } from "../../ipam/faults.ts";
import type { NamedNetworksFeed, NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { NetworkId } from "../../ipam/named-networks/named-network.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { Runtime } from "../network/runtime.ts";
import { SEGMENT_RULES, segmentFirewallInput } from "./segment-firewall.ts";
import { hasLeftovers, segmentScope } from "./segment-scope.ts";

export interface SegmentHostOptions {
  readonly runtime: Pick<Runtime, "clock" | "random" | "logger" | "faults" | "port" | "netlink">;
  readonly feed: Pick<NamedNetworksFeed, "view" | "onChange" | "storeProblem">;
  readonly facts: SegmentFacts;
  readonly settings: Pick<FirewallSettings, "openPort">;
  /** The host's firewall. */
  readonly plans: Pick<JointPlans, "update" | "leave">;
}

/** A network that this host has members in. */
export interface SegmentStatus extends SegmentDevices {
  readonly network: NetworkId;
  readonly name: string;
  readonly vni: number;
  readonly mtuBytes: number;
  readonly localMembers: number;
  readonly remoteMembers: number;
  /** What is wrong, one sentence each. */
  readonly problems: readonly string[];
}

export class SegmentHost {
  readonly #options: SegmentHostOptions;
  readonly #reconciler: Reconciler;
  readonly #planner = new SegmentPlanner();
  #facts: SegmentFacts;
  #segments: ReadonlyMap<NetworkId, PlannedSegment> = new Map();
  #planned: readonly SegmentDevices[] = [];
  #hasLeftovers = false;
  /** False until the store was listed: networks and members that the view does not have yet may be in use. */
  #areNetworksKnown = false;
  #rules: FirewallInput | null = null;
  /** Resolves when the firewall has the newest rules. */
  #ruled: Promise<void> = Promise.resolve();

  constructor(options: SegmentHostOptions) {
    const { runtime, facts } = options;
    const { port, clock, logger, random, faults } = runtime;
    this.#options = options;
    this.#facts = facts;
    this.#reconciler = new Reconciler({
      port,
      clock,
      logger,
      random,
      scope: segmentScope([], facts, null),
      onPass: guarded(faults, "the devices of named networks", () => this.#reviewLeftovers()),
    });
  }

  /** Follows the view until `signal` fires; leaves the kernel as it is, except the check of tunnel sources. */
  async run(signal: AbortSignal): Promise<void> {
    const { feed, runtime, plans } = this.#options;
    const stop = feed.onChange(
      guarded(runtime.faults, "the view of named networks", (view) => this.#plan(view)),
    );
    try {
      this.#plan(feed.view);
      await this.#reconciler.run(signal);
    } finally {
      stop();
      await plans.leave(SEGMENT_RULES);
    }
  }

  /** The host's interfaces or its identity changed. */
  setFacts(facts: SegmentFacts): void {
    this.#facts = facts;
    this.#planned = [];
    this.#plan(this.#options.feed.view);
  }

  /**
   * Resolves when containers can be attached to the network's bridge. This host must have a member in it. Rejects with
   * ConflictError where a foreign device is in the way, and when `signal` fires.
   */
  async ready(network: NetworkId, signal: AbortSignal): Promise<PlannedSegment & SegmentDevices> {
    // By then the view has told of the member that the caller has just added, together with those of other callers.
    await new Promise((resolve) => setImmediate(resolve));
    if (!this.#segments.has(network)) this.#plan(this.#options.feed.view);
    for (;;) {
      const segment = this.#segments.get(network);
      if (segment === undefined)
        throw new ConflictError(`named network ${network}: this host has no member in it, or it was removed`);
      const devices = segmentDevices(segment.network.vni);
      if (this.#isMade(devices)) return { ...segment, ...devices };
      await this.#reconciler.passed(signal);
      if (this.#isMade(devices)) return { ...segment, ...devices };
      const [problem] = this.#deviceProblems(devices);
      if (problem !== undefined) throw new ConflictError(`network ${segment.network.name}: ${problem}`);
    }
  }

  /** Resolves when the firewall was made equal to the newest rules, or could not be: its status tells. Never rejects. */
  ruled(): Promise<void> {
    return this.#ruled;
  }

  /** Resolves after a pass that left nothing to do. Rejects when `signal` fires. */
  settled(signal: AbortSignal): Promise<void> {
    return this.#reconciler.settled(signal);
  }

  /** The devices that are missing or damaged are looked for at once. */
  requestDump(reason: string): void {
    this.#reconciler.requestDump(reason);
  }

  get reconciler(): ReconcilerStatus {
    return this.#reconciler.status();
  }

  status(): readonly SegmentStatus[] {
    return [...this.#segments.values()].map(
      ({ network, mtuBytes, localMembers, remoteMembers, problems }) => {
        const devices = segmentDevices(network.vni);
        return {
          ...devices,
          network: network.id,
          name: network.name,
          vni: network.vni,
          mtuBytes,
          localMembers,
          remoteMembers,
          problems: [...this.#deviceProblems(devices), ...problems],
        };
      },
    );
  }

  #plan(view: NamedNetworksView): void {
    const { plan, segments } = this.#planner.plan(view, this.#facts);
    this.#segments = segments;
    const devices = [...segments.values()].map(({ network }) => segmentDevices(network.vni));
    if (!isDeepStrictEqual(devices, this.#planned) || this.#hasListedNow) this.#setScope(devices);
    if (plan.type === "whole" || plan.groups.size > 0) this.#reconciler.setDesired(plan);
    this.#planRules(view);
  }

  /**
   * A view that changes nothing of the rules, such as another name of a container, costs no pass of the firewall. Before
   * the first network in use there are none: each costs every tunnel packet some time.
   */
  #planRules(view: NamedNetworksView): void {
    const { settings, plans } = this.#options;
    const [segments, facts] = [this.#segments, this.#facts];
    if (segments.size === 0 && this.#rules === null) return;
    const rules = segmentFirewallInput({ settings, segments, view, facts });
    if (isDeepStrictEqual(rules, this.#rules)) return;
    this.#rules = rules;
    this.#ruled = plans.update(SEGMENT_RULES, rules);
  }

  #setScope(planned: readonly SegmentDevices[]): void {
    const { feed, runtime } = this.#options;
    this.#planned = planned;
    this.#areNetworksKnown ||= feed.storeProblem === null;
    const links = this.#areNetworksKnown ? runtime.port.links() : null;
    const scope = segmentScope(planned, this.#facts, links);
    this.#hasLeftovers = hasLeftovers(scope, planned);
    this.#reconciler.setScope(scope);
  }

  get #hasListedNow(): boolean {
    return !this.#areNetworksKnown && this.#options.feed.storeProblem === null;
  }

  /** A name that is free again may be another program's the next time. */
  #reviewLeftovers(): void {
    if (this.#hasLeftovers || this.#hasListedNow) this.#setScope(this.#planned);
  }

  #isMade(devices: SegmentDevices): boolean {
    const { netlink } = this.#options.runtime;
    const bridge = findLink(netlink, devices.bridge);
    const vxlan = findLink(netlink, devices.vxlan);
    const isUp = bridge?.isUp && vxlan?.isUp && bridge.mac === this.#facts.macFor(devices.bridge);
    return isUp === true && vxlan.masterIndex === bridge.index;
  }

  /** What keeps the kernel from having a network's devices. A conflict explains all that depends on the device. */
  #deviceProblems({ bridge, vxlan }: SegmentDevices): readonly string[] {
    const { conflicts, failures, trouble } = this.#reconciler.status();
    const keys = [linkKey(bridge), linkKey(vxlan)];
    const conflict = conflicts.find(({ key }) => keys.includes(key));
    if (conflict !== undefined) return [`${conflict.key}: ${conflict.reason}`];
    const isOn = (key: string): boolean => key.split(" ").some((word) => word === bridge || word === vxlan);
    const own = failures.filter(({ key }) => isOn(key)).map(({ message }) => message);
    return [...own.slice(0, 1), ...(trouble === null ? [] : [trouble])];
  }
}
