/**
 * What can be wrong with the path to a peer, by name, and how to tell from the evidence. Pure.
 *
 * A cause is named only where its evidence is: silence alone proves nothing where ICMP may be filtered. docs/
 * troubleshooting.md has a paragraph for each code; a test compares both ways.
 */

import { type Evidence, isAnswered, type Outcome, type ProbeTarget } from "./probe.ts";

/** Every cause, with what to do about it. */
export const CAUSES = {
  "path-diverted": 'delete the rule or route; "ip route get" shows which one takes the packets',
  "no-route": "give this host a route to the peer's public address",
  "local-firewall": "let a rule of this host's OUTPUT chain accept the packets",
  "host-down": "start the peer; if it has left for good, delete its lease",
  "host-unreachable": "look at the peer and at the network between: neither answers",
  "tunnel-filtered":
    "let the firewalls between both hosts pass the tunnel's packets in both directions, and look at the peer's tunnel device",
  "reverse-path-filter": "set net.ipv4.conf.all.rp_filter and that of the interface to 0 or 2",
  "large-packets-lost": "give the network configuration an MTU that fits, or mend the path's MTU",
  "tcp-lost":
    'switch the checksum offload of the tunnel device off ("ethtool -K DEVICE tx-checksum-ip-generic off"), or let the peer\'s firewall answer TCP',
  "never-answered": "look at the peer: its lease is in the store, but it never answered",
  "conntrack-full": "raise net.netfilter.nf_conntrack_max; the kernel drops new connections",
} as const;

export type CauseCode = keyof typeof CAUSES;

export interface Cause {
  readonly code: CauseCode;
  /** What was seen, as the end of a sentence that begins with the peer. */
  readonly text: string;
  readonly remedy: string;
}

/** What this host knows beside the answers. */
export interface LocalFacts {
  /** What diverts packets to the inner or the outer address, a sentence that begins with "packets"; null: nothing. */
  readonly obstacle: string | null;
  /** The peer is on a link of this host, and does not answer ARP or neighbour discovery. */
  readonly isNeighbourSilent: boolean;
  /** The kernel dropped packets by reverse path filtering meanwhile. */
  readonly hasReversePathDrops: boolean;
}

/** What former probes showed. */
export interface History {
  /** This target was answered through the tunnel, or by TCP. */
  readonly inner: boolean;
  readonly tcp: boolean;
  readonly outer: boolean;
}

export interface Case {
  readonly target: ProbeTarget;
  readonly evidence: Evidence;
  readonly facts: LocalFacts;
  /** Of this target. */
  readonly before: History;
  /** Of any target: whether such probes are answered at all in this network. */
  readonly elsewhere: History;
}

/** Null where nothing is proven to be wrong. */
export function judge(given: Case): Cause | null {
  const { small, full, tcp } = given.evidence;
  if (isAnswered(small) || isAnswered(full)) return judgePartial(given);
  // Some hosts answer TCP and no ICMP.
  if (isAnswered(tcp)) return null;
  return judgeSilence(given);
}

/** Something came back through the tunnel. */
function judgePartial({ evidence, before, elsewhere, target }: Case): Cause | null {
  const { full, tcp, passesBytes } = evidence;
  if (!isAnswered(full)) {
    const found = passesBytes === null ? "" : `; ${passesBytes} bytes pass`;
    return cause(
      "large-packets-lost",
      `loses packets of ${target.mtuBytes} bytes, but not small ones${found}`,
    );
  }
  const isProof = before.tcp || elsewhere.tcp;
  if (isAnswered(tcp) || !isProof) return null;
  return cause("tcp-lost", "answers pings through the tunnel, but no TCP");
}

function judgeSilence(given: Case): Cause | null {
  const { evidence, facts, target, before, elsewhere } = given;
  if (facts.obstacle !== null) return cause("path-diverted", `is not reached: ${facts.obstacle}`);
  const refusal = refusalOf(evidence);
  if (refusal !== null) return refusal;
  if (isAnswered(evidence.outer)) {
    const isExpected = target.isInnerCertain || before.inner;
    if (!isExpected) return null;
    if (facts.hasReversePathDrops)
      return cause("reverse-path-filter", "is not heard: this host's kernel drops by reverse path filtering");
    const way = target.tunnel === null ? "the network" : `the tunnel (${target.tunnel})`;
    return before.inner
      ? cause("tunnel-filtered", `answers at ${target.outer}, but no longer through ${way}`)
      : cause("tunnel-filtered", `answers at ${target.outer}, but has never answered through ${way}`);
  }
  if (facts.isNeighbourSilent)
    return cause("host-down", `is down: nothing answers for ${target.outer} on the link`);
  const report = evidence.outer.type === "error" ? ` (${evidence.outer.text})` : "";
  if (before.inner || before.outer)
    return cause(
      "host-unreachable",
      `no longer answers, neither through the tunnel nor at ${target.outer}${report}`,
    );
  if (elsewhere.inner || elsewhere.outer || report !== "")
    return cause(
      "never-answered",
      `has never answered, neither through the tunnel nor at ${target.outer}${report}`,
    );
  return null;
}

/** What this host's own kernel says when it cannot send. */
function refusalOf({ small, outer }: Evidence): Cause | null {
  const said = (outcome: Outcome, errno: string): boolean =>
    outcome.type === "error" && outcome.text === errno;
  if (said(outer, "ENETUNREACH") || said(outer, "EHOSTUNREACH"))
    return cause("no-route", "is not reached: this host has no route to its public address");
  if (said(outer, "EPERM") || said(small, "EPERM"))
    return cause("local-firewall", "is not reached: a firewall rule of this host rejects the packets");
  return null;
}

function cause(code: CauseCode, text: string): Cause {
  return { code, text, remedy: CAUSES[code] };
}
