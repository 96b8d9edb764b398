/** The routing decision on the packet's way, as the kernel makes it, and the rule and route behind it. */

import type { Link } from "../../backends/netlink/link/link.ts";
import {
  type Path,
  type Route,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_PROHIBIT,
  RTN_UNICAST,
  RTN_UNREACHABLE,
} from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import {
  discardingRoute,
  formatRule,
  noRuleToMain,
  skippedRoute,
  tableName,
} from "../routing/route-judgement.ts";
import { cutOffContainer } from "./container.ts";
import type { Peer } from "./knowledge.ts";
import { requireBridge } from "./link-step.ts";
import { lookupProtocol, type Packet } from "./packet.ts";
import {
  discardingRule,
  type RuleChoice,
  type RuleSelectors,
  ruleTo,
  suspectedRule,
  tablesFor,
} from "./policy-rule.ts";
import type { Scene } from "./scene.ts";

export interface Hop {
  readonly route: Route;
  readonly path: Path;
  /** By which it leaves; for a local destination the device that has the address. */
  readonly link: Link | null;
}

export interface RouteRequest {
  readonly packet: Packet;
  /** True where the packet has its source already. */
  readonly hasSource: boolean;
  /** Of a tunnel that is bound to a device; null for others. */
  readonly boundTo: Link | null;
  /** Names the packet where it is not the first one: "tunnel packets"; empty for the first one. */
  readonly what: string;
}

const NO_LEASE =
  '"tulle leases" lists the leases; the host of this address has none, or its lease is rejected';

const REJECTED = 'do what the reason says; "tulle lease check" lists all rejected leases';

const DISCARDING: ReadonlyMap<number, string> = new Map([
  [RTN_BLACKHOLE, "blackhole"],
  [RTN_UNREACHABLE, "unreachable"],
  [RTN_PROHIBIT, "prohibit"],
]);
/** fib_props in net/ipv4/fib_semantics.c; IPv6 answers a lookup with such a route. */
const DISCARDING_ERRNOS: ReadonlyMap<number, string> = new Map([
  [RTN_BLACKHOLE, "EINVAL"],
  [RTN_UNREACHABLE, "EHOSTUNREACH"],
  [RTN_PROHIBIT, "EACCES"],
]);

/** Where the packet goes next. Ends the way where no route leads on. */
export function routePacket(scene: Scene, request: RouteRequest): Hop {
  const { kernel, steps } = scene;
  const { packet, hasSource, boundTo } = request;
  const protocol = lookupProtocol(packet);
  const input = packet.inputInterface === null ? null : kernel.linkNamed(packet.inputInterface);
  const found = kernel.lookup(packet.destination, {
    ...(hasSource ? { source: packet.source } : {}),
    ...(input === null ? {} : { inputIndex: input.index }),
    ...(boundTo === null ? {} : { outputIndex: boundTo.index }),
    mark: packet.mark ?? 0,
    ...(protocol === null ? {} : { protocol }),
    ...(packet.destinationPort === null ? {} : { destinationPort: packet.destinationPort }),
  });
  if (packet.mark === null && kernel.rules(packet.family).some(({ markMask }) => markMask !== 0))
    steps.doubt(
      "mark",
      "a firewall rule sets a mark that is not known; the lookup is for mark 0",
      "that mark",
    );
  const selectors: RuleSelectors = {
    destination: packet.destination,
    source: hasSource ? packet.source : null,
    inputInterface: packet.inputInterface,
    outputInterface: boundTo?.name ?? null,
    mark: packet.mark ?? 0,
  };
  if (found.type === "error") return explainError(scene, request, selectors, found.errnoName);
  const { route, path } = found;
  if (DISCARDING.has(route.type)) return discarded(scene, request, route);
  const choice = ruleTo(route.table, kernel.rules(packet.family), selectors);
  noteRule(scene, choice);
  const link = kernel.link(path.outputIndex);
  steps.ok("route", describeHop(route, path, link, request.what));
  return { route, path, link };
}

function noteRule({ steps }: Scene, { rule, doubtful }: RuleChoice): void {
  for (const one of doubtful)
    steps.doubt("rule", `"${formatRule(one)}" has conditions that are not tested here; the kernel was asked`);
  if (rule !== null) steps.ok("rule", formatRule(rule));
}

function describeHop(route: Route, path: Path, link: Link | null, what: string): string {
  const gateway = path.gateway === null ? "" : ` via ${path.gateway}`;
  const device = link === null ? "" : ` dev ${link.name}`;
  const owner = route.protocol === ROUTE_PROTOCOL ? ", tulled's" : "";
  const mtu = path.mtuBytes === null ? "" : `, MTU ${path.mtuBytes} of the route`;
  const local = route.type === RTN_UNICAST ? "" : `${LOCAL_TYPES.get(route.type) ?? "other"} `;
  const prefix = what === "" ? "" : `${what}: `;
  return `${prefix}${local}${route.destination}${gateway}${device}, table ${tableName(route.table)}${owner}${mtu}`;
}

/** linux/rtnetlink.h, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST */
const LOCAL_TYPES: ReadonlyMap<number, string> = new Map([
  [2, "local"],
  [3, "broadcast"],
  [4, "anycast"],
  [5, "multicast"],
]);

/**
 * Linux answers a lookup with the error that a packet would meet (net/ipv4/route.c, inet_rtm_getroute). Newer
 * kernels answer EINVAL for a packet that came by a device, whatever the reason.
 */
function explainError(
  scene: Scene,
  request: RouteRequest,
  selectors: RuleSelectors,
  errnoName: string,
): never {
  const { kernel, steps } = scene;
  const { packet, boundTo } = request;
  if (errnoName === "EXDEV") return rejectedOnArrival(scene, packet, errnoName);
  requireOwnBridge(scene, packet);
  requireForwarding(scene, packet);
  const rules = kernel.rules(packet.family);
  const choice = discardingRule(rules, selectors);
  // The kernel tells more of a packet that this host makes.
  const ownErrno = packet.inputInterface === null ? errnoName : errnoOfOwn(scene, packet);
  if (ownErrno === null && reversePathMode(scene, packet) !== "0" && choice.rule === null)
    return rejectedOnArrival(scene, packet, errnoName);
  const rule = choice.rule ?? suspectedRule(choice.doubtful, ownErrno);
  if (rule !== null)
    return steps.stop("rule", `"${formatRule(rule)}" discards the packet`, { cause: "path-diverted" });
  const routes = kernel.routes(packet.family);
  const [route] = tablesFor(rules, selectors).flatMap(
    (table) => discardingRoute(routes, table, packet.destination) ?? [],
  );
  if (route !== undefined) return discarded(scene, request, route);
  if (ownErrno === null) return rejectedOnArrival(scene, packet, errnoName);
  const skipped = skippedRoute(packet.destination, rules, routes);
  if (skipped !== null)
    return steps.stop(
      "route",
      `the packet does not take the route ${skipped.destination} of table main: ${noRuleToMain(packet.destination)}`,
      { cause: "path-diverted", remedy: "add that rule" },
    );
  const by = boundTo === null ? "" : ` by ${boundTo.name}`;
  return unrouted(scene, packet, `no route leads to ${packet.destination}${by} (${ownErrno})`);
}

function unrouted(scene: Scene, { family, destination }: Packet, text: string): never {
  const { kernel, knowledge, steps } = scene;
  const peer = knowledge.peerOf(destination);
  const ours = ourRoute(kernel.routes(family), destination);
  if (peer !== null && ours !== null)
    return steps.stop("route", `${text}, although tulled's route ${ours.destination} is in table main`, {
      cause: "path-diverted",
    });
  if (peer !== null) return steps.stop("route", `${text}: ${missingRoute(scene, peer)}`, ROUTE_MISSING);
  if (!knowledge.ranges.some((range) => range.contains(destination)))
    return steps.stop("route", text, { cause: "no-route" });
  const rejection = knowledge.rejectionOf(destination);
  const why = rejection === null ? "no lease contains it" : `its lease is rejected: ${rejection}`;
  const remedy = rejection === null ? NO_LEASE : REJECTED;
  return steps.stop("route", `${text}: ${why}`, { cause: "no-route", remedy });
}

/** tulled's longest route to an address; null for none. */
function ourRoute(routes: readonly Route[], address: Address): Route | null {
  const [longest] = routes
    .filter(
      ({ protocol, type, table, destination }) =>
        protocol === ROUTE_PROTOCOL &&
        type === RTN_UNICAST &&
        table === RT_TABLE_MAIN &&
        destination.contains(address),
    )
    .toSorted((left, right) => right.destination.length - left.destination.length);
  return longest ?? null;
}

/** Why a packet that this host makes would not be sent on; null where it would. */
function errnoOfOwn({ kernel }: Scene, packet: Packet): string | null {
  const { destination, destinationPort, mark } = packet;
  const protocol = lookupProtocol(packet);
  const found = kernel.lookup(destination, {
    mark: mark ?? 0,
    ...(protocol === null ? {} : { protocol }),
    ...(destinationPort === null ? {} : { destinationPort }),
  });
  if (found.type === "error") return found.errnoName;
  return DISCARDING_ERRNOS.get(found.route.type) ?? null;
}

/** The stricter of both settings counts (Linux ip-sysctl, rp_filter); IPv6 has none. */
function reversePathMode({ readSysctl }: Scene, { family, inputInterface }: Packet): string {
  if (family === 6) return "0";
  const modes = ["all", inputInterface].map((name) => readSysctl(`net/ipv4/conf/${name}/rp_filter`) ?? "0");
  return modes.toSorted().at(-1) ?? "0";
}

/** The kernel takes no packet with that source from that device. */
function rejectedOnArrival(scene: Scene, packet: Packet, errnoName: string): never {
  const { source, inputInterface } = packet;
  if (errnoName === "EXDEV" || reversePathMode(scene, packet) !== "0")
    return scene.steps.stop(
      "route",
      `the reverse path filter drops it: answers to ${source} would not leave by ${inputInterface}`,
      { cause: "reverse-path-filter" },
    );
  return scene.steps.stop(
    "route",
    `the kernel takes no packet from ${source} by ${inputInterface} (${errnoName})`,
    {
      remedy: "sysctl -w net.ipv4.conf.all.log_martians=1 has the kernel log why",
    },
  );
}

/** A packet that came by a device is not sent on unless the host forwards. */
export function requireForwarding({ readSysctl, steps }: Scene, { family, inputInterface }: Packet): void {
  if (inputInterface === null) return;
  const device = inputInterface.replaceAll(".", "/");
  // For IPv6 the setting of one device does not make a router of the host (net/ipv6/ip6_output.c, ip6_forward).
  const path = family === 4 ? `net/ipv4/conf/${inputInterface}/forwarding` : "net/ipv6/conf/all/forwarding";
  if (readSysctl(path) !== "0") return;
  const name = family === 4 ? `net.ipv4.conf.${device}.forwarding` : "net.ipv6.conf.all.forwarding";
  // The kernel passes the host's setting on to its devices only when that changes (net/ipv4/devinet.c, devinet_sysctl_forward).
  const isOfDevice = family === 4 && readSysctl("net/ipv4/ip_forward") === "1";
  const ofHost = family === 4 ? "net.ipv4.ip_forward" : name;
  const remedy = isOfDevice
    ? `sysctl -w ${name}=1`
    : `start tulled with --ip-forward, or sysctl -w ${ofHost}=1`;
  const text = `${name} is 0: this host forwards nothing${isOfDevice ? ` that comes by ${inputInterface}` : ""}`;
  steps.stop("forwarding", text, { cause: "forwarding-off", remedy });
}

function discarded(scene: Scene, { packet }: RouteRequest, route: Route): never {
  const { knowledge, steps } = scene;
  const type = DISCARDING.get(route.type) ?? "";
  const text = `the ${type} route ${route.destination} of table ${tableName(route.table)} discards the packet`;
  if (route.protocol !== ROUTE_PROTOCOL) return steps.stop("route", text, { cause: "path-diverted" });
  requireOwnBridge(scene, packet);
  const peer = knowledge.peerOf(packet.destination);
  if (peer !== null) return steps.stop("route", `${text}: ${missingRoute(scene, peer)}`, ROUTE_MISSING);
  return steps.stop("route", `${text}: it is tulled's, for addresses that no container and no host has`, {
    remedy: `${NO_LEASE}; on this host, no container has the address`,
  });
}

const ROUTE_MISSING = { remedy: '"tulle status" shows why the kernel is not as planned' } as const;

/** A device that goes or is set down takes its routes along. */
function missingRoute({ kernel, knowledge }: Scene, { target, label }: Peer): string {
  const gone = knowledge.devices.flatMap((name) => {
    const link = kernel.linkNamed(name);
    if (link === null) return [`${name} does not exist`];
    return link.isUp ? [] : [`${name} is down`];
  });
  const why = gone.length === 0 ? "" : `, because ${gone.join(" and ")}`;
  return `tulled's route to ${target.subnet}, of peer ${label}, is missing${why}`;
}

/** Ends the way where the destination is behind a bridge of this host that is down: its route went with it. */
function requireOwnBridge(scene: Scene, { destination }: Packet): void {
  if (scene.knowledge.peerOf(destination) !== null) return;
  const cutOff = cutOffContainer(scene.kernel, destination);
  if (cutOff !== null) requireBridge(scene, cutOff.bridge);
}

/** A container without a bridge has a route of its own. */
function isPair(link: Link | null, { destination }: Route): boolean {
  return link?.type === "veth" && destination.size === 1n;
}

/** Ends the way where another route than tulled's takes packets to a peer. */
export function requireNetworksRoute(scene: Scene, packet: Packet, { route, path, link }: Hop): void {
  const { kernel, knowledge, steps } = scene;
  if (route.protocol === ROUTE_PROTOCOL || route.type !== RTN_UNICAST) return;
  requireOwnBridge(scene, packet);
  const ours = ourRoute(kernel.routes(packet.family), packet.destination);
  const device = link === null ? "" : ` by ${link.name}`;
  const taken = `the route ${route.destination} of table ${tableName(route.table)} takes the packet${device}`;
  if (ours !== null) {
    const text = `${taken}, not tulled's route ${ours.destination} dev ${kernel.link(ours.outputIndex)?.name ?? "?"}`;
    steps.divert("route", text, null);
  }
  const peer = knowledge.peerOf(packet.destination);
  if (peer !== null) steps.divert("route", `${taken}: ${missingRoute(scene, peer)}`, ROUTE_MISSING.remedy);
  const isLocal = path.gateway === null && (link?.type === "bridge" || isPair(link, route));
  if (isLocal || !knowledge.ranges.some((range) => range.contains(packet.destination))) return;
  const rejection = knowledge.rejectionOf(packet.destination);
  if (rejection !== null)
    steps.divert("route", `${taken}, and the lease there is rejected: ${rejection}`, REJECTED);
  steps.divert(
    "route",
    `${taken}: no lease contains ${packet.destination}, although the network's range does`,
    NO_LEASE,
  );
}
