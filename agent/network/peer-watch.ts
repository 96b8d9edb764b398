/**
 * What a joined network knows of its peers beyond their leases: the names of their hosts, whether the paths to them work
 * and by which way, and what limits of this host are reached. Nothing here changes the kernel but the fall-back, by the
 * plan.
 */

import type { PeerDetails } from "../../backends/backend.ts";
import { HostDirectory } from "../../ipam/hosts/host-directory.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { Lease, LeaseKey, LeaseSnapshot } from "../../ipam/leases/lease.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import { ContainerResponder } from "../container-probes/responder.ts";
import type { FallbackPaths } from "../fallback/fallback-paths.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { bridgeAddresses } from "../host/local-prefixes.ts";
import { type CauseFinding, causeFindings } from "../probes/broken-paths.ts";
import { DropWatch } from "../probes/drop-watch.ts";
import { NetworkProber, type ProbedNetwork } from "../probes/network-prober.ts";
import type { PathHealth } from "../probes/prober.ts";
import type { TargetList } from "../probes/target-list.ts";
import type { DesiredState } from "./desired-state.ts";
import { fallbackProblems } from "./fallback-problems.ts";
import { HealthReporter } from "./health-reporter.ts";
import type { JoinedNetworkOptions } from "./joined-network-options.ts";
import { makeNetworkFallback } from "./network-fallback.ts";
import type { NetworkParts } from "./network-parts.ts";
import { pathProblems } from "./path-problems.ts";
import { peerDetailsOf } from "./peer-details.ts";
import { type MemberDetails, membershipProblem } from "./problems.ts";

export class PeerWatch {
  readonly #options: JoinedNetworkOptions;
  readonly #parts: NetworkParts;
  readonly #desired: DesiredState;
  readonly #hosts: HostDirectory;
  /** Null where probes are switched off. */
  readonly #prober: NetworkProber | null;
  readonly #drops: DropWatch;
  readonly #health: HealthReporter | null;
  /** Null where probes are switched off. */
  readonly #responder: ContainerResponder | null;
  /** Null without a fall-back. */
  readonly fallback: FallbackPaths | null;

  constructor(options: JoinedNetworkOptions, parts: NetworkParts, desired: DesiredState) {
    const { runtime, metrics, attachmentParts, store, profile } = options;
    const { peers } = parts;
    this.#options = options;
    this.#parts = parts;
    this.#desired = desired;
    this.#hosts = new HostDirectory({
      ...runtime,
      store,
      host: attachmentParts.identity.nodeId as HostId,
      profile,
      present: () => new Set([...peers.peers.values()].flatMap(({ attrs }) => attrs.nodeId ?? [])),
    });
    const { paths, otherProbesPerSecond: perSecond } = makeNetworkFallback(options, parts, desired, {
      hostNameOf: (peer) => this.#hostNameOf(peer),
      onMove: () => this.#prober?.changed(),
    });
    this.fallback = paths;
    const network = (): ProbedNetwork => this.probed;
    this.#prober =
      perSecond === 0
        ? null
        : new NetworkProber({
            ...{ runtime, metrics, perSecond, network, beside: paths },
            onChange: () => this.#health?.changed(),
          });
    this.#health = HealthReporter.of(this.#prober, {
      ...{ runtime, records: store.records },
      nodeId: () => attachmentParts.identity.nodeId,
      peers: () => peers.peers.keys(),
    });
    this.#responder =
      this.#prober === null
        ? null
        : new ContainerResponder({
            ...{ ...runtime, records: store.records },
            nodeId: () => attachmentParts.identity.nodeId,
            leaseKey: () => parts.lease.entry.key,
            place: () => ({
              subnets: desired.subnets,
              bridges: bridgeAddresses(takeHostSnapshot(runtime.netlink)),
              mtuBytes: desired.attachment.backend.mtuBytes,
            }),
          });
    this.#drops = new DropWatch({ ...runtime, ownSubnets: () => desired.subnets });
  }

  /** What probes are about. */
  get probed(): ProbedNetwork {
    const { backend, host } = this.#desired.attachment;
    const { peers, lease } = this.#parts;
    const { ownRejection: rejection } = peers;
    return {
      backend,
      uplinks: host.uplinks,
      peers: peers.peers,
      subnets: this.#desired.subnets,
      ownKey: lease.entry.key,
      hostNameOf: (peer) => this.#hostNameOf(peer),
      membershipProblem: membershipProblem({ lease: lease.state, leaseKey: lease.entry.key, rejection }),
    };
  }

  /** What former probes showed, by their targets; empty where paths are not probed. */
  get histories(): TargetList["histories"] {
    return this.#prober?.histories ?? {};
  }

  /** The state of the path to each peer; null where paths are not probed. */
  get healthOf(): ((peer: LeaseKey) => PathHealth) | null {
    const prober = this.#prober;
    return prober === null || prober.problem !== null ? null : (peer) => prober.health(peer);
  }

  /** Null for a host without a record, such as one that runs flanneld. */
  profileOf(nodeId: string | null): HostProfile | null {
    return this.#hosts.profileOf(nodeId);
  }

  /** Takes over what a former run left in the kernel. Returns whether packets wait for a data path because of it. */
  resume(): boolean {
    const { runtime, attachmentParts } = this.#options;
    const { diversions } = attachmentParts;
    const { backend } = this.#desired.attachment;
    diversions?.resume(runtime.netlink, backend, this.#parts.peers.peers.values());
    return diversions !== null && diversions.peers.size > 0;
  }

  /** The peers, this host's subnets or its attachment have changed. */
  changed(): void {
    this.#prober?.changed();
    this.fallback?.changed();
  }

  /** What is wrong with paths and this host, one finding for each cause that lies here. */
  causes({ peers, held }: LeaseSnapshot, storeProblem: string | null): readonly CauseFinding[] {
    return causeFindings({
      peers: peers.keys(),
      held,
      prober: this.#prober,
      hostNameOf: (key) => {
        const peer = this.#parts.peers.peers.get(key);
        return peer === undefined ? null : this.#hostNameOf(peer);
      },
      limits: this.#drops.troubles,
      storeProblem,
    });
  }

  /** What else is wrong. */
  problems({ peers }: LeaseSnapshot): Pick<MemberDetails, "probing" | "hostRecords" | "fallback"> {
    const nowMs = this.#options.runtime.clock.monotonicMs();
    const known = {
      hostNameOf: (peer: Lease): string | null => this.#hostNameOf(peer),
      isAnswering: ({ key }: Lease): boolean => this.#prober?.health(key).state === "good",
    };
    return {
      probing: this.#prober?.problem ?? null,
      hostRecords: this.#hosts.problem,
      fallback: fallbackProblems(peers.values(), this.fallback, known, nowMs),
    };
  }

  /** Peers whose packets take another way than the kernel's routes should give them, unless `causes` name what is in the way. */
  routeProblems({ peers }: LeaseSnapshot, causes: readonly CauseFinding[]): readonly string[] {
    const { attachment, subnets: ownSubnets } = this.#desired;
    const hostNameOf = (peer: Lease): string | null => this.#hostNameOf(peer);
    const routed = { attachment, ownSubnets, peers: peers.values(), hostNameOf, causes };
    return pathProblems(this.#options.runtime.netlink, routed);
  }

  /** Sessions of peers, where the backend has them. */
  details(): ReadonlyMap<LeaseKey, PeerDetails> {
    const { port } = this.#options.runtime;
    return peerDetailsOf(this.#desired.attachment.backend, port, this.#parts.peers.peers.values());
  }

  /** Shows its figures as metrics until the returned function is called. */
  measure(): () => void {
    const { metrics } = this.#options;
    const { peers, runner } = this.#parts;
    const end = metrics.measure(() => {
      const all = [...peers.peers.values()];
      const { backend } = this.#desired.attachment;
      metrics.setSessions(this.details());
      metrics.setVersions(all.map(({ attrs }) => this.profileOf(attrs.nodeId)?.version ?? null));
      metrics.setTraffic(runner.traffic);
      metrics.setPeerPaths(countOf(all.map((peer) => backend.pathTo(peer))));
      metrics.setLimits(this.#drops.troubles.map(({ code }) => code));
    });
    return () => {
      end();
      metrics.setSessions(new Map());
      metrics.setVersions([]);
      metrics.setTraffic(null);
      metrics.setPeerPaths(new Map());
      metrics.setLimits([]);
    };
  }

  /** Looks at this host's limits until `signal` fires. Never rejects. */
  async runLimits(signal: AbortSignal): Promise<void> {
    await this.#drops.run(signal);
  }

  /** Watches peers until `signal` fires; call it once packets can flow. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#hosts.run(signal),
      this.#prober?.run(signal),
      this.fallback?.run(signal),
      this.#health?.run(signal),
      this.#responder?.run(signal),
    ]);
  }

  async close(): Promise<void> {
    this.#prober?.close();
    this.fallback?.close();
    await this.#health?.close();
  }

  #hostNameOf({ attrs }: Lease): string | null {
    return this.profileOf(attrs.nodeId)?.name ?? null;
  }
}

function countOf(values: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
