/**
 * What a joined network shows: its problems, its status, what the page draws, what there is to probe. Reads the live parts
 * and changes nothing.
 */

import { describeLatency } from "../../ipam/stores/latency.ts";
import { interfaceNames } from "../host/choose-interface.ts";
import type { HostWatch } from "../host/host-watch.ts";
import { findingSentence } from "../probes/broken-paths.ts";
import { targetList } from "../probes/network-prober.ts";
import type { TargetList } from "../probes/target-list.ts";
import type { StatusReport } from "../report/status.ts";
import type { ConfigFollower } from "./config-follower.ts";
import type { DesiredState } from "./desired-state.ts";
import type { JoinedNetworkOptions } from "./joined-network-options.ts";
import type { NetworkParts } from "./network-parts.ts";
import type { PeerWatch } from "./peer-watch.ts";
import { detailProblems, memberProblems, type Problem } from "./problems.ts";
import { type ShownNetwork, shownNetwork } from "./shown-network.ts";
import { statusReport } from "./status-report.ts";
import type { SubnetFileKeeper } from "./subnet-file-keeper.ts";

/** The parts that it reads. */
export interface NetworkViewOptions {
  readonly network: Pick<JoinedNetworkOptions, "runtime" | "store" | "attachmentParts" | "hostFirewall">;
  readonly parts: NetworkParts;
  readonly desired: DesiredState;
  readonly peerWatch: PeerWatch;
  readonly hostWatch: Pick<HostWatch, "problem">;
  readonly configFollower: Pick<ConfigFollower, "problem">;
  readonly subnetFile: Pick<SubnetFileKeeper, "problem">;
  /** Whether the device, subnet.env and the firewall have been tried once. */
  readonly isProgrammed: () => boolean;
}

/** What a report needs besides what this network has. */
export interface StatusContext {
  /** Null for the first network. */
  readonly name: string | null;
  readonly version: string;
  /** Why the store cannot be followed; null when it can. */
  readonly storeProblem: string | null;
  /** What is wrong beside the network on this host, one sentence each. */
  readonly hostProblems: readonly string[];
}

export class NetworkView {
  readonly #options: NetworkViewOptions;

  constructor(options: NetworkViewOptions) {
    this.#options = options;
  }

  /** What this host is in the network, in a few words. */
  get summary(): string {
    const { parts, desired } = this.#options;
    const { lease, peers } = parts;
    return `${lease.entry.key} on ${interfaceNames(desired.attachment.chosen)}, ${peers.peers.size} peers`;
  }

  /** True while the lease cannot have expired. */
  get isLeaseHeld(): boolean {
    const { network, parts } = this.#options;
    const { lease } = parts;
    return lease.state.state === "held" && lease.deadlineMs > network.runtime.clock.monotonicMs();
  }

  /** The problems that take part in readiness; empty when this host is a working member. */
  get problems(): readonly Problem[] {
    const { network, parts, desired, hostWatch, configFollower, subnetFile, isProgrammed } = this.#options;
    const { lease, peers, reconciler } = parts;
    return memberProblems({
      leaseKey: lease.entry.key,
      lease: lease.state,
      rejection: peers.ownRejection,
      obstacle: peers.ownObstacle,
      interface: hostWatch.problem,
      config: configFollower.problem,
      subnetFile: subnetFile.problem,
      kernel: reconciler.status(),
      runner: this.#runnerProblems(),
      devices: desired.attachment.backend.mainDevices,
      isProgrammed: isProgrammed(),
      firewallLock: network.hostFirewall.obstacle,
    });
  }

  /** Without the program that carries the packets of peers, this host exchanges none. */
  #runnerProblems(): readonly Problem[] {
    const { parts, desired } = this.#options;
    const { runner } = parts;
    const { backend } = desired.attachment;
    return backend.parts.flatMap((part) => {
      const isBlocking = part === backend.main && runner.isCarrier(part);
      const prefix = part === backend.fallback?.part ? "there is no fall-back (--fallback): " : "";
      return runner.problemsOf(part).map((text) => ({ text: prefix + text, isBlocking }));
    });
  }

  /** What there is to probe, for programs that probe on their own. */
  get targets(): TargetList {
    const { peerWatch } = this.#options;
    return targetList(peerWatch.probed, peerWatch.histories);
  }

  /** What the page shows. */
  get shown(): ShownNetwork {
    const { network, parts, desired, peerWatch } = this.#options;
    const { nodeId } = network.attachmentParts.identity;
    const { lease, peers } = parts;
    return shownNetwork(desired.attachment, {
      ...{ key: lease.entry.key, nodeId, peers: peers.peers },
      profileOf: (host) => peerWatch.profileOf(host),
      healthOf: peerWatch.healthOf,
    });
  }

  /** What `tulle status` shows. */
  status({ name, version, storeProblem, hostProblems }: StatusContext): StatusReport {
    const { network, parts, desired, peerWatch, isProgrammed } = this.#options;
    const { runtime, store } = network;
    const { lease, peers, reconciler, firewall, runner } = parts;
    const snapshot = peers.snapshot();
    const kernel = reconciler.status();
    const causes = peerWatch.causes(snapshot, storeProblem);
    const details = detailProblems({
      host: hostProblems,
      faults: runtime.faults.problems,
      snapshot,
      contended: kernel.contended,
      firewall: firewall.status(),
      paths: isProgrammed() ? peerWatch.routeProblems(snapshot, causes) : [],
      causes: causes.map(findingSentence),
      ...peerWatch.problems(snapshot),
    });
    return statusReport({
      name,
      version,
      store: store.description + describeLatency(store.roundTripMs),
      attachment: desired.attachment,
      lease,
      snapshot,
      details: peerWatch.details(),
      healthOf: peerWatch.healthOf,
      profileOf: (peer) => peerWatch.profileOf(peer.attrs.nodeId),
      fallback: peerWatch.fallback,
      traffic: runner.traffic,
      kernel,
      firewall: firewall.status(),
      causes,
      problems: [...this.problems, ...details],
      nowMs: runtime.clock.monotonicMs(),
    });
  }
}
