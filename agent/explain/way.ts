/**
 * Follows a packet from this host or one of its containers as far as this host's kernel decides: rules and routes, firewall,
 * neighbours, tunnels. Reads only; each answer is the kernel's.
 *
 * It ends where the packet leaves the host. What the other side does is explained there.
 */

import type { Link } from "../../backends/netlink/link/link.ts";
import { RTN_LOCAL, RTN_UNICAST } from "../../backends/netlink/route.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { PathCause } from "../probes/path-cause.ts";
import { type Container, findInside, leaveContainer } from "./container.ts";
import { type Ending, type Explanation, WayEnded } from "./explanation.ts";
import { passDevices, passFirewall } from "./firewall-step.ts";
import { passIpsec } from "./ipsec-step.ts";
import { type Peer, type Proven, provenOf } from "./knowledge.ts";
import { NO_CONTAINER, neighbourOn, requireUp, type Silence } from "./link-step.ts";
import type { Packet, Protocol } from "./packet.ts";
import { type Hop, requireForwarding, requireNetworksRoute, routePacket } from "./route-step.ts";
import type { Scene } from "./scene.ts";
import { crossBridge, enterTunnel, type Outer } from "./tunnel-step.ts";

/** `null`: the host itself, with the source that the kernel chooses. An address: one of the host's. */
export type Origin = Address | Container | null;

export interface Request {
  readonly origin: Origin;
  readonly destination: Address;
  readonly protocol: Protocol;
  readonly destinationPort: number | null;
}

export function explain(scene: Scene, request: Request): Explanation {
  const { firewall, knowledge, steps } = scene;
  if (knowledge.problem !== null) steps.doubt("unknown", knowledge.problem);
  firewall.unknown.forEach((text, index) => {
    steps.doubt("unknown", text, index === 0 ? "rules of the firewall that could not be read" : null);
  });
  try {
    follow(scene, request);
  } catch (error) {
    if (!(error instanceof WayEnded)) throw error;
    const { doubts } = steps;
    return { steps: steps.all, end: withDoubts(error.ending, doubts), doubts };
  }
}

function withDoubts(ending: Ending, doubts: readonly string[]): Ending {
  if (doubts.length === 0) return ending;
  return { ...ending, text: `${ending.text}; unless this changes it: ${doubts.join("; ")}` };
}

function follow(scene: Scene, { origin, destination, protocol, destinationPort }: Request): never {
  const { kernel } = scene;
  const isContainer = origin !== null && "bridge" in origin;
  if (isContainer) {
    const next = leaveContainer(scene, origin, destination);
    if (next !== null)
      return sendOuter(scene, crossBridge(scene, origin.bridge, next, destination), {
        source: null,
        destination,
      });
  }
  const found = kernel.lookup(destination, {});
  const isToHost = found.type === "route" && found.route.type === RTN_LOCAL;
  const packet: Packet = {
    family: destination.family,
    source: isContainer ? origin.address : (origin ?? sourceOf(found) ?? destination),
    destination,
    protocol,
    destinationPort,
    inputInterface: isContainer ? origin.bridge.name : null,
    outputInterface: null,
    isToHost,
    mark: 0,
    isTracked: true,
  };
  if (isContainer) return forward(scene, packet);
  const inner = { source: null, destination };
  return emit(scene, packet, { hasSource: origin !== null, boundTo: null, what: "", inner });
}

/** A packet that this host makes: the first one, or the one around it. */
interface Leg {
  readonly hasSource: boolean;
  readonly boundTo: Link | null;
  /** Empty for the first packet. */
  readonly what: string;
  readonly inner: Ends;
}

/** Of the first packet. */
interface Ends {
  /** That of a container, as other hosts see it; null where it is not known, and for packets of this host. */
  readonly source: Address | null;
  readonly destination: Address;
}

function sourceOf(found: ReturnType<Scene["kernel"]["lookup"]>): Address | null {
  return found.type === "route" ? found.path.source : null;
}

/** A packet that came by a device: delivered here, or sent on. */
function forward(scene: Scene, arrived: Packet): never {
  const { kernel } = scene;
  const before = passFirewall(scene, "prerouting", arrived);
  const found = kernel.lookup(before.destination, {});
  const packet = { ...before, isToHost: found.type === "route" && found.route.type === RTN_LOCAL };
  const hop = routePacket(scene, { packet, hasSource: true, boundTo: null, what: "" });
  if (hop.route.type === RTN_LOCAL) return deliver(scene, packet);
  requireUnicast(scene, hop, packet);
  requireForwarding(scene, packet);
  for (const direction of ["fwd", "out"] as const) passIpsec(scene, direction, packet);
  const leaving = { ...packet, outputInterface: hop.link?.name ?? null };
  const sent = passFirewall(scene, "postrouting", passFirewall(scene, "forward", leaving));
  const source = sent.isMasqueraded === undefined ? sent.source : null;
  const inner = { source, destination: packet.destination };
  return leave(scene, sent, hop, { hasSource: true, boundTo: null, what: "", inner });
}

/** A packet that this host makes. */
function emit(scene: Scene, packet: Packet, leg: Leg): never {
  const { hasSource, boundTo, what } = leg;
  const first = routePacket(scene, { packet, hasSource, boundTo, what });
  const source = hasSource ? packet.source : (first.path.source ?? packet.source);
  const sent: Packet = { ...packet, source, outputInterface: outputOf(first) };
  const passed = passFirewall(scene, "output", sent, what);
  const isRoutedAgain = passed.isRerouted || !passed.destination.equals(packet.destination);
  const again = { packet: { ...passed, outputInterface: null }, hasSource: true, boundTo, what };
  const hop = isRoutedAgain ? routePacket(scene, again) : first;
  const leaving = { ...passed, outputInterface: outputOf(hop) };
  if (hop.route.type === RTN_LOCAL) return deliverOwn(scene, leaving);
  requireUnicast(scene, hop, leaving);
  passIpsec(scene, "out", leaving);
  return leave(scene, passFirewall(scene, "postrouting", leaving, what), hop, leg);
}

function outputOf({ route, link }: Hop): string | null {
  return route.type === RTN_LOCAL ? LOOPBACK : (link?.name ?? null);
}

const LOOPBACK = "lo";

/** It comes back by the loopback device. */
function deliverOwn(scene: Scene, packet: Packet): never {
  const sent = passFirewall(scene, "postrouting", packet);
  const arrived = { ...sent, inputInterface: LOOPBACK, outputInterface: null, isToHost: true };
  return deliver(scene, passFirewall(scene, "prerouting", arrived));
}

function requireUnicast({ steps }: Scene, { route }: Hop, { destination }: Packet): void {
  if (route.type !== RTN_UNICAST)
    steps.end("unknown", `the packet is for all hosts on a link (${destination}), which is not followed`);
}

function deliver(scene: Scene, packet: Packet): never {
  passFirewall(scene, "input", { ...packet, outputInterface: null });
  return scene.steps.end("delivered", `the packet reaches this host, which has ${packet.destination}`);
}

/** By a device: into a tunnel, to a container, or to another host. */
function leave(scene: Scene, packet: Packet, hop: Hop, leg: Leg): never {
  const { steps, mtu } = scene;
  const isFirst = leg.what === "";
  const { link, path } = hop;
  if (link === null) return steps.end("unknown", "the packet takes a route without a device");
  if (isFirst) requireNetworksRoute(scene, packet, hop);
  requireUp(scene, link, isFirst ? {} : { cause: "interface-down" });
  passDevices(scene, "egress", isForContainer(hop, leg) ? [link] : [link, ...devicesBelow(scene, link)]);
  mtu.pass(link.name, Math.min(link.mtuBytes, path.mtuBytes ?? link.mtuBytes));
  const outer = enterTunnel(scene, packet, hop);
  if (outer !== null) return sendOuter(scene, outer, { ...leg.inner, destination: packet.destination });
  const next = path.gateway ?? packet.destination;
  const isToContainer = isForContainer(hop, leg);
  const known = asksForNeighbours(link)
    ? neighbourOn(scene, link, next, silenceOf(scene, hop, next, leg))
    : null;
  const mac = known ?? (isToContainer ? (findInside(scene.kernel, link, next)?.mac ?? null) : null);
  if (isToContainer) {
    if (mac === null)
      return steps.end("unknown", `the packet waits until something on ${link.name} answers for ${next}`);
    return sendOuter(scene, crossBridge(scene, link, mac, next), { ...leg.inner, destination: next });
  }
  return depart(scene, packet, link, next, leg);
}

/** The ports of a bridge or bond, and the parent of a VLAN. */
function devicesBelow({ kernel }: Scene, { index, linkIndex, linkNetnsId }: Link): readonly Link[] {
  const isBelow = (link: Link): boolean =>
    link.masterIndex === index || (linkNetnsId === null && link.index === linkIndex);
  return kernel.links.filter(isBelow);
}

function isForContainer({ link, path }: Hop, { what }: Leg): boolean {
  return link?.type === "bridge" && path.gateway === null && what === "";
}

/** A peer that does not answer is down; what else may be silent is a container, a router or a host of no network. */
function silenceOf({ knowledge }: Scene, hop: Hop, next: Address, leg: Leg): Silence {
  const isRemote = leg.what !== "" && hop.path.gateway === null;
  const peer = knowledge.peerBehind(next);
  if (isRemote || peer !== null) return silenceOfPeer(peer);
  if (isForContainer(hop, leg)) return NO_CONTAINER;
  return { remedy: `look at ${next}, and at what ${hop.link?.name} is connected to` };
}

/** Probes tell more than silence: a firewall of this host may drop what the link answers. */
function silenceOfPeer(peer: Peer | null): Silence {
  const cause = peer === null ? null : provenOf(peer).cause;
  if (cause === null || cause.code === "host-down") return { cause: "host-down" };
  return { cause: cause.code, remedy: cause.remedy, seen: probesSay(cause) };
}

function probesSay({ scope, text }: PathCause): string {
  return `probes say that ${scope === "peer" ? "this peer " : ""}${text}`;
}

/** linux/if.h */
const IFF_NOARP = 0x80;

function asksForNeighbours({ flags }: Link): boolean {
  return (flags & IFF_NOARP) === 0;
}

/** The packet around the packet, which this host makes. */
function sendOuter(scene: Scene, outer: Outer, inner: Ends): never {
  const { remote, source, protocol, port, boundTo, addedBytes, what } = outer;
  scene.mtu.wrap(addedBytes);
  const to = port === null ? "" : `, UDP port ${port}`;
  scene.steps.ok("tunnel", `${what} to ${remote}${to}, ${addedBytes} bytes larger`);
  const packet: Packet = {
    family: remote.family,
    source: source ?? remote,
    destination: remote,
    protocol,
    destinationPort: port,
    inputInterface: null,
    outputInterface: null,
    isToHost: false,
    mark: 0,
    isTracked: true,
  };
  return emit(scene, packet, { hasSource: source !== null, boundTo, what, inner });
}

const NOTHING_PROVEN: Proven = { cause: null, roundTripMs: null };

/** The packet leaves this host: for whom, in which sizes, and what is known of the way from here. */
function depart(scene: Scene, packet: Packet, link: Link, next: Address, { what, inner }: Leg): never {
  const { steps, mtu, knowledge } = scene;
  const peer = knowledge.peerOf(inner.destination);
  const { fitsBytes, toldBytes, sentBytes } = mtu;
  steps.ok("mtu", mtu.describe());
  const as = what === "" ? "" : ` as ${what}`;
  const target = next.equals(packet.destination)
    ? `${packet.destination}`
    : `${packet.destination} via ${next}`;
  const of = peer === null ? "" : `, peer ${peer.label}`;
  const leaves = `the packet leaves by ${link.name}${as} for ${target}${of}`;
  if (fitsBytes !== null && toldBytes !== null && fitsBytes < toldBytes)
    steps.endBadly(
      `${leaves}, but only up to ${fitsBytes} bytes: larger ones, up to ${toldBytes}, do not fit behind the tunnel`,
      "large-packets-lost",
    );
  const { cause, roundTripMs } = peer === null ? NOTHING_PROVEN : provenOf(peer);
  // Probes are packets of this host, and rules for those that it forwards have been tested.
  const isOfOthers = cause?.code === "local-firewall" && packet.inputInterface !== null;
  if (cause !== null && isOfOthers) steps.doubt("probes", `${probesSay(cause)}; this packet is forwarded`);
  else if (cause !== null) steps.endBadly(`${leaves}; but ${probesSay(cause)}`, cause.code, cause.remedy);
  if (peer !== null) requireOwnSource(scene, link, inner, leaves);
  const isSmaller = sentBytes !== null && fitsBytes !== null && fitsBytes < sentBytes;
  const sizes = isSmaller ? `; the kernel tells the sender that more than ${fitsBytes} bytes do not fit` : "";
  const proven =
    roundTripMs === null ? "" : `; probes of this peer are answered, in ${roundTripMs.toFixed(2)} ms`;
  return steps.end("leaves", `${leaves}${sizes}${proven}`);
}

const OUTSIDE =
  'give the bridge of the containers an address of this host\'s subnet: "tulle docker setup" and a restart of Docker, or "tulle cni install"; then recreate the container';

/** Ends the way of a packet to which no answer may come: peers have routes to this host's subnet, and to what they reach without it. */
function requireOwnSource(
  { kernel, knowledge, steps }: Scene,
  link: Link,
  { source }: Ends,
  leaves: string,
): void {
  const subnet = source === null ? undefined : knowledge.ownSubnets[source.family];
  if (source === null || subnet === undefined || subnet.contains(source)) return;
  if (kernel.hasOnLink(link, source)) return;
  steps.end(
    "unknown",
    `${leaves}, but no answer may come back: the source ${source} is outside this host's subnet ${subnet}, and no rule masquerades it`,
    OUTSIDE,
  );
}
