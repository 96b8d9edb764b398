/**
 * Tells the cause of a path that does not work from the evidence. Pure.
 *
 * A cause is named only where its evidence is: silence alone proves nothing where ICMP may be filtered.
 */

import type { Case, Judgement, LocalFacts } from "./case.ts";
import { type Cause, causeOf } from "./causes.ts";
import { type HandshakeFault, handshakeCause, handshakeFault } from "./handshakes.ts";
import { isAnswered, type Outcome, type ProbeTarget } from "./probe.ts";
import type { TunnelEvidence } from "./tunnel-watch.ts";

/** Drops that stray packets of others cause do not count. */
const LEAST_DROPS = 3;
/** One may have arrived this moment: it has been seen, and is not read yet. */
const LEAST_UNTAKEN = 2;
const LEAST_CHECKSUM_ERRORS = 2;
/** What only a firewall says. */
const FILTER = /prohibited|policy|rejected/;
/** More than what was under way when a host went down. */
const LEAST_RECEIVED = 3;
const LINK_PROTOCOL = { 4: "ARP", 6: "neighbour discovery" } as const;
/** Hardware addresses for one IP address: two hosts have it. */
const TOO_MANY_MACS = 2;

export function judge(given: Case): Judgement {
  const { small, full, tcp } = given.evidence;
  if (isAnswered(full)) return judgeTcp(given);
  if ([small, full].some(({ type }) => type === "damaged"))
    return causeOf(
      "checksum-broken",
      "answers pings through the tunnel, and the answers arrive damaged",
      "from peer",
    );
  if (isAnswered(small)) return (given.late?.isLarge ? judgeLate(given) : null) ?? judgeSize(given);
  // Some hosts answer TCP and no ICMP.
  if (isAnswered(tcp)) return judgeRefusal(given);
  const cause = judgeHost(given) ?? judgeLate(given);
  const { tunnel } = given.facts;
  // Probes were not sent, and other packets are: only what the peer says counts.
  return cause ?? (tunnel !== null && isPingDropped(given) ? judgePeer(given, tunnel) : judgeSilence(given));
}

/** The kernel takes a rejection by ICMP for a refused connection as well: then no segment was seen. */
function judgeRefusal(given: Case): Cause | null {
  const { tunnel } = given.facts;
  return tunnel !== null && tunnel.answers === 0 && tunnel.flows === 0 ? judgeInside(given) : null;
}

function judgeSilence(given: Case): Judgement {
  if (given.facts.isTunnelUnwatched && given.isFirewallFound) return "undecided";
  if (given.facts.isNeighbourNew) return "undecided";
  return judgeTunnel(given) ?? judgeReach(given);
}

/** Small packets pass, large ones do not. */
function judgeSize({ evidence: { passesBytes, isLossy }, target, facts: { pathMtuBytes } }: Case): Judgement {
  // Where other packets are lost too, the size is not the reason.
  if (isLossy) return "undecided";
  const found = passesBytes === null ? "" : `; ${passesBytes} bytes pass`;
  const learned =
    pathMtuBytes === null
      ? ""
      : `; this host's kernel holds the MTU to ${target.outer} for ${pathMtuBytes} bytes`;
  return causeOf(
    "large-packets-lost",
    `loses packets of ${target.mtuBytes} bytes, but not small ones${found}${learned}`,
  );
}

/** Pings are answered. A peer's firewall may drop connections to closed ports: silence alone proves nothing. */
function judgeTcp({ evidence: { tcp, syn, isLossy }, late, facts, before }: Case): Judgement {
  if (isAnswered(tcp)) return null;
  // A rule may select packets by their source, which echo requests leave to the route.
  const unsent = judgeLink(facts) ?? judgeRoute(facts);
  if (unsent !== null) return unsent;
  if (isLossy || late !== null) return "undecided";
  if (facts.checksumErrors >= LEAST_CHECKSUM_ERRORS)
    return causeOf(
      "checksum-broken",
      `answers pings through the tunnel; its TCP segments arrive with wrong checksums (${facts.checksumErrors} dropped here)`,
      "from peer",
    );
  if (syn !== null && isAnswered(syn))
    return causeOf(
      "checksum-broken",
      "answers pings through the tunnel, and TCP only where the checksum is computed before the network card: this host's card damages it",
      "to peer",
    );
  return before.tcp ? causeOf("tcp-lost", "answers pings through the tunnel, but no longer TCP") : null;
}

/** Answers come, later than is waited for. */
function judgeLate({ late }: Case): Cause | null {
  if (late === null) return null;
  return causeOf("answers-late", `answers through the tunnel only after ${(late.ms / 1000).toFixed(1)} s`);
}

/** What this host's own kernel says. */
function judgeHost(given: Case): Cause | null {
  const { facts, evidence } = given;
  const down = judgeLink(facts);
  if (down !== null) return down;
  // A rule may drop pings alone: then packets of TCP leave.
  if (isPingDropped(given) && (facts.tunnel?.sent ?? 0) === 0)
    return causeOf("local-firewall", "a firewall rule of this host drops packets that it sends");
  const diverted = judgeRoute(facts);
  if (diverted !== null) return diverted;
  if (isRefusal(evidence.outer, "ENETUNREACH") || isRefusal(evidence.outer, "EHOSTUNREACH"))
    return causeOf("no-route", "is not reached: this host has no route to its public address");
  return null;
}

function judgeLink({ link }: LocalFacts): Cause | null {
  if (link.problem === null) return null;
  return causeOf("interface-down", `this host's interface ${link.name} ${link.problem}`);
}

function judgeRoute({ obstacle }: LocalFacts): Cause | null {
  if (obstacle === null) return null;
  return causeOf(obstacle.isMissingRoute ? "no-route" : "path-diverted", `is not reached: ${obstacle.text}`);
}

/** A firewall rule of this host dropped probes that it sends. */
function isPingDropped({ evidence: { small, outer } }: Case): boolean {
  return isRefusal(outer, "EPERM") || isRefusal(small, "EPERM");
}

function isRefusal(outcome: Outcome, errno: string): boolean {
  return outcome.type === "error" && outcome.text === errno;
}

/** What was seen on the interface. */
function judgeTunnel(given: Case): Cause | null {
  const { evidence, facts, target } = given;
  // To a host that is down nothing is sent.
  if (facts.neighbour === "silent" && !isAnswered(evidence.outer)) return null;
  if (facts.neighbour === "ignored")
    return causeOf(
      "local-firewall",
      `answers of ${LINK_PROTOCOL[target.outer.family]} for ${facts.router ?? target.outer} arrive at ${facts.link.name}, and this host drops them`,
      "from peer",
    );
  const { tunnel } = facts;
  if (tunnel === null) return judgeReversePath(given);
  return judgePeer(given, tunnel) ?? judgeReversePath(given) ?? judgeOwnDrops(given, tunnel);
}

/** What the peer or the network says: it tells more than counters of this host. */
function judgePeer({ facts, target }: Case, seen: TunnelEvidence): Cause | null {
  const tunnel = `the tunnel (${target.tunnel})`;
  const macs = seen.macs ?? [];
  // Routers may share an address.
  if (facts.router === null && macs.length >= TOO_MANY_MACS)
    return causeOf(
      "wrong-address",
      `is silent in ${tunnel}, and more than one host answers for ${target.outer}: ${macs.join(", ")}`,
    );
  const [answering] = macs;
  if (answering !== undefined && facts.neighbourMac !== null && !macs.includes(facts.neighbourMac))
    return causeOf(
      "path-diverted",
      `is not reached: packets to ${facts.router ?? target.outer} go to ${facts.neighbourMac}, but ${answering} answers for it on the link`,
    );
  const rejection = seen.rejection === null ? null : rejected(seen.rejection, target, tunnel);
  if (rejection !== null) return rejection;
  if (seen.mismatch !== null) return causeOf("tunnel-mismatch", `sends its tunnel packets ${seen.mismatch}`);
  if (seen.otherSource !== null && seen.received === 0)
    return causeOf(
      "wrong-address",
      `sends its tunnel packets from ${seen.otherSource}, not from ${target.outer}, which its lease names`,
    );
  return null;
}

/** The counter is that of the whole host, and of IPv4 alone (ip-sysctl.rst, rp_filter). */
function judgeReversePath({ facts: { reversePathDrops }, evidence, target }: Case): Cause | null {
  if (target.outer.family !== 4 || reversePathDrops < LEAST_DROPS) return null;
  // An address of a peer may go with its last container: its silence alone is not a fault of the path.
  if (!target.isInnerCertain && isAnswered(evidence.outer)) return null;
  return causeOf(
    "reverse-path-filter",
    `this host's kernel dropped ${reversePathDrops} packets by reverse path filtering while it waited for answers`,
  );
}

/** Packets that were seen on the interface alone. */
function judgeOwnDrops({ facts, taken, before }: Case, seen: TunnelEvidence): Cause | null {
  const { link } = facts;
  // A refusal that is late finds no socket any more. Where pings are answered, their answers tell.
  const untaken = seen.answers - (before.inner ? seen.refusals : 0) - taken;
  if (untaken >= LEAST_UNTAKEN)
    return causeOf(
      "local-firewall",
      `tunnel packets arrive at ${link.name} and are dropped on this host: ${untaken} answers were seen`,
      "from peer",
    );
  if (seen.sent === 0 && facts.neighbour === "unknown" && facts.neighbourRefusals > 0)
    return causeOf("neighbours-full", "this host's table of neighbours has no room for the peer", "to peer");
  // WireGuard sends nothing between two handshakes that fail.
  if (seen.handshakes !== null) return handshakeCause(handshakeFault(seen.handshakes), link.name);
  if (seen.sent > 0) return null;
  return causeOf(
    "local-firewall",
    `tunnel packets do not leave ${link.name}: this host drops them`,
    "to peer",
  );
}

function rejected(
  { from, text }: NonNullable<TunnelEvidence["rejection"]>,
  { outer }: ProbeTarget,
  tunnel: string,
): Cause | null {
  const isClosed = text === "port unreachable" || text === "protocol unreachable";
  if (isClosed && from.equals(outer))
    return causeOf("tunnel-absent", `says that nothing receives ${tunnel} there (${text})`);
  // That a host or network is not reachable does not mean a filter: what answers beside the tunnel tells more.
  if (!isClosed && !FILTER.test(text)) return null;
  return causeOf("tunnel-filtered", `is not reached by ${tunnel}: ${text}, says ${from}`, "to peer");
}

/** What answers beside the tunnel. */
function judgeReach(given: Case): Judgement {
  const { evidence, facts, target, before, elsewhere } = given;
  // Connections go on: the peer answers no probes any more.
  if ((facts.tunnel?.flows ?? 0) > 0) return null;
  const inside = judgeInside(given);
  if (inside !== null) return inside;
  // The peer has no route back. One that is silent on the link is down as well.
  if (facts.membershipProblem !== null && facts.neighbour !== "silent")
    return causeOf("lease-lost", facts.membershipProblem, "from peer");
  // That the link answers shows a host. Where it never answered probes, its firewall may drop them.
  const isNear = facts.router === null && facts.neighbour === "answers" && (before.inner || before.tcp);
  const isThere = isAnswered(evidence.outer) || (isNear && !before.outer);
  // An address that the peer has only while it has containers may be gone with the last of them.
  if (isThere) return target.isInnerCertain ? silentTunnel(given) : null;
  if (facts.neighbour === "silent") return silentLink(given);
  const report = reportOf(given);
  const way = target.tunnel === null ? "the network" : "the tunnel";
  const neither = `neither through ${way} nor at ${target.outer}${report}`;
  if (before.outer || (before.inner && report !== "")) {
    const text = `no longer answers, ${neither}${signOfLife(given)}`;
    if (isTakingNothing(given)) return causeOf("peer-firewall", text, "to peer");
    return causeOf("host-unreachable", `${text}${fixedEntry(given)}`);
  }
  if (before.inner)
    return causeOf(
      "host-unreachable",
      `no longer answers through ${wayTo(target)}; ${target.outer} never answered pings, so the host may be up`,
    );
  if (elsewhere.inner || elsewhere.outer || report !== "")
    return causeOf("never-answered", `has never answered, ${neither}${signOfLife(given)}`);
  return null;
}

/** What a router says of pings to the public address, or of tunnel packets: it sends few reports a second, for either. */
function reportOf({ evidence: { outer }, facts: { tunnel } }: Case): string {
  if (outer.type === "error") return ` (${outer.text})`;
  return tunnel?.rejection == null ? "" : ` (${tunnel.rejection.text}, says ${tunnel.rejection.from})`;
}

/** What the peer itself says inside the tunnel, which works then. An echo request has no port. */
function judgeInside({ evidence: { small, full }, target: { subnet } }: Case): Cause | null {
  for (const outcome of [small, full]) {
    if (outcome.type !== "error" || outcome.from === undefined || !subnet.contains(outcome.from)) continue;
    if (FILTER.test(outcome.text) || outcome.text.startsWith("port unreachable"))
      return causeOf("peer-firewall", `rejects what arrives through the tunnel: ${outcome.text}`, "to peer");
  }
  return null;
}

/** A host that is down sends nothing. */
function silentLink({ facts: { tunnel, router }, target: { outer }, isPeerUp, isPeerOnLink }: Case): Cause {
  const protocol = LINK_PROTOCOL[outer.family];
  if (router !== null)
    return causeOf(
      "no-route",
      `is not reached: the router ${router} does not answer ${protocol} on the link`,
    );
  if (!isPeerUp && !isPeerOnLink && (tunnel?.received ?? 0) < LEAST_RECEIVED)
    return causeOf("host-down", `is down or cut off: nothing answers for ${outer} on the link`);
  return causeOf(
    "address-silent",
    `is not reached: nothing answers ${protocol} for ${outer} on the link, though the host is up`,
  );
}

/**
 * The peer is up on a link of this host, and what is sent to it is lost there. Where its agent's probes do not arrive, what it
 * sends is lost instead.
 */
function isTakingNothing({ facts, target }: Case): boolean {
  if (facts.router !== null || (facts.tunnel?.answers ?? 0) > 0) return false;
  if (isOnLink(facts)) return isSending(facts) || !target.sendsProbes;
  // A fixed entry that the link has not confirmed may lead to another host.
  return isSending(facts) && !facts.isNeighbourFixed;
}

/** A host that answers on the link is up: nothing was under way when it went down. */
function isSending(facts: LocalFacts): boolean {
  return (facts.tunnel?.received ?? 0) >= (isOnLink(facts) ? 1 : LEAST_RECEIVED);
}

/** That the host is up although it does not answer, as the end of a sentence. */
function signOfLife({ facts, target: { outer, family }, isPeerUp }: Case): string {
  if (isSending(facts)) return ", though its tunnel packets arrive here";
  if (isPeerUp) return `, though it answers over IPv${family === 4 ? 6 : 4}`;
  return isOnLink(facts) ? `, though it answers ${LINK_PROTOCOL[outer.family]}` : "";
}

/** For IPv6 the link is not asked who answers: the entry may be right. */
function fixedEntry({ facts: { isNeighbourFixed, neighbourMac, router }, target: { outer } }: Case): string {
  if (!isNeighbourFixed) return "";
  return `; this host's neighbour entry of ${router ?? outer} is permanent (${neighbourMac})`;
}

/** The link has just answered for the peer itself. */
export function isOnLink({ router, neighbour, tunnel }: LocalFacts): boolean {
  return router === null && neighbour === "answers" && (tunnel?.macs ?? []).length > 0;
}

function wayTo({ tunnel }: ProbeTarget): string {
  return tunnel === null ? "the network" : `the tunnel (${tunnel})`;
}

function silentTunnel({ evidence, target, before, facts }: Case): Judgement {
  if (facts.isTunnelUnwatched) return "undecided";
  const how = isAnswered(evidence.outer) ? `answers at ${target.outer}` : "answers on the link";
  const past = before.inner ? "no longer" : "has never answered";
  const main = `${how}, but ${past} through ${wayTo(target)}`;
  const seen = facts.tunnel;
  if (seen === null) return causeOf("tunnel-filtered", main);
  if (seen.received === 0)
    return causeOf("tunnel-filtered", `${main}: ${seen.sent} packets left this host, none came from it`);
  const fault = seen.handshakes === null ? "lost to peer" : handshakeFault(seen.handshakes);
  const hint = fault === null ? undefined : HINTS[fault];
  const text = hint === undefined ? main : `${main}: ${hint}`;
  return causeOf("tunnel-filtered", text, fault === "lost to peer" ? "to peer" : undefined);
}

const HINTS: Readonly<Partial<Record<HandshakeFault, string>>> = {
  "lost to peer": "its tunnel packets arrive here, so those to it are lost",
  "not completed by peer":
    "this host answers its handshakes, and none completes: the answers are lost, or the PSKs differ",
  "not answered here":
    "its handshakes arrive here and are not answered: keys or clocks differ, or this host's firewall drops them",
};
