/** What a path is judged by. */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { Cause } from "./causes.ts";
import type { Evidence, ProbeTarget } from "./probe.ts";
import type { TunnelEvidence } from "./tunnel-watch.ts";

/** Of the interface that carries the tunnel. */
export interface LinkState {
  readonly name: string | null;
  /** As in "is down"; null for none. */
  readonly problem: string | null;
}

/** What diverts packets to the inner or the outer address. */
export interface Obstacle {
  /** As in "packets to 10.2.54.1 leave by eth1, not flannel.1". */
  readonly text: string;
  readonly isMissingRoute: boolean;
}

/** What this host knows beside the answers. */
export interface LocalFacts {
  readonly link: LinkState;
  readonly obstacle: Obstacle | null;
  /**
   * What the peer, or the router that leads to it, says to ARP or neighbour discovery; `ignored`: its answers arrive, and this
   * host's kernel does not get them.
   */
  readonly neighbour: "silent" | "ignored" | "answers" | "unknown";
  /** The router that packets to the peer's public address are sent to; null where the peer is on a link of this host. */
  readonly router: Address | null;
  /** The path MTU to the peer's public address that the kernel has learned or a route sets; null where that of the interface counts. */
  readonly pathMtuBytes: number | null;
  /** Where the kernel sends frames for the peer's public address; null where that is not known. */
  readonly neighbourMac: string | null;
  /** That entry is permanent: an administrator or a program has set it, and the kernel does not ask the link. */
  readonly isNeighbourFixed: boolean;
  /** Entries that the kernel's table of neighbours had no room for during the examination, in all namespaces. */
  readonly neighbourRefusals: number;
  /** Packets that the kernel dropped by reverse path filtering during the examination. */
  readonly reversePathDrops: number;
  /** Segments with a wrong checksum that TCP dropped meanwhile. */
  readonly checksumErrors: number;
  /** What was seen of tunnel packets on the interface; null where it was not looked. */
  readonly tunnel: TunnelEvidence | null;
  /** It was not looked because too many other paths are examined: it will be. */
  readonly isTunnelUnwatched: boolean;
  /** Why peers send nothing to this host whatever the path, one sentence; null when they do. */
  readonly membershipProblem: string | null;
  /** The link did not know the peer or its router when the examination began, and does now: what was sent may not have left. */
  readonly isNeighbourNew: boolean;
}

/** What former probes showed. */
export interface History {
  /** This target was answered through the tunnel, or by TCP. */
  readonly inner: boolean;
  readonly tcp: boolean;
  readonly outer: boolean;
}

/** An answer through the tunnel that came after its probe had been given up. */
export interface LateAnswer {
  /** The round trip, in milliseconds. */
  readonly ms: number;
  /** To a packet of the largest size: one to a small packet says nothing of those. */
  readonly isLarge: boolean;
}

export interface Case {
  readonly target: ProbeTarget;
  readonly evidence: Evidence;
  readonly late: LateAnswer | null;
  /** Answers through the tunnel that reached the prober since its packets are watched. */
  readonly taken: number;
  readonly facts: LocalFacts;
  /** Of this target. */
  readonly before: History;
  /** Of any target: whether such probes are answered at all in this network. */
  readonly elsewhere: History;
  /** It answers meanwhile by the other family. */
  readonly isPeerUp: boolean;
  /** At its address of the other family it is seen on the link. */
  readonly isPeerOnLink: boolean;
  /** With another target `local-firewall` was found. */
  readonly isFirewallFound: boolean;
}

/** Null: nothing is proven to be wrong. `undecided`: something is, and a later examination will tell what. */
export type Judgement = Cause | null | "undecided";
