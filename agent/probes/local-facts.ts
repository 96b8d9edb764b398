/** What this host's kernel knows about the way to a target, asked when it is examined. Changes no setting. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { EOPNOTSUPP, NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeGetLink, IFF_LOWER_UP, type Link } from "../../backends/netlink/link/link.ts";
import { NLM_F_REPLACE } from "../../backends/netlink/message.ts";
import {
  decodeConfirmedAgo,
  decodeNeighbour,
  encodeGetNeighbour,
  encodeNeighbourDump,
  encodeNewNeighbour,
  type Neighbour,
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
} from "../../backends/netlink/neighbour.ts";
import { readNeighbourTables } from "../../backends/netlink/neighbour-table.ts";
import {
  decodePath,
  decodeRoute,
  encodePathLookup,
  encodeRouteLookup,
  RTN_LOCAL,
} from "../../backends/netlink/route.ts";
import type { Address, Family, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { RoutingTables } from "../routing/route-judgement.ts";
import { checkRouting } from "../routing/routing-check.ts";
import type { LinkState, LocalFacts, Obstacle } from "./case.ts";
import type { TunnelNotice } from "./echo-line.ts";
import { type DropCounters, readDropCounters } from "./kernel-counters.ts";
import type { ProbeTarget } from "./probe.ts";
import { type TunnelEvidence, TunnelWatch } from "./tunnel-watch.ts";

export interface FactsReaderOptions {
  readonly netlink: NetlinkConnection;
  /** The devices that packets to peers' subnets leave by; empty for a backend without. */
  readonly devices: () => readonly string[];
  /** The interfaces that carry the tunnel. */
  readonly interfaces: () => PerFamily<string>;
  /** This host's addresses that tunnel packets come from. */
  readonly sources: () => PerFamily<Address>;
  /** Those of its containers, whose packets other rules may select. */
  readonly ownSubnets: () => PerFamily<Prefix>;
  /** See LocalFacts. */
  readonly membershipProblem: () => string | null;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
}

/** What is known of one target while it is examined. */
export interface Inspection {
  /** An examination begins: counters are compared with what they are now. */
  begin(): void;
  /** Throws NetlinkError when the kernel cannot be asked. */
  facts(): LocalFacts;
  /** To be called when the target's outer address is silent, so that facts about the link are fresh. */
  askLink(): void;
  /** Call it once. */
  end(): void;
}

type Drops = DropCounters & { readonly neighbourRefusals: bigint };

/** States in which the kernel sends to the address that it knows. */
const BELIEVED = NUD_REACHABLE | NUD_STALE | NUD_DELAY;
const SILENT = NUD_FAILED | NUD_INCOMPLETE;
/** Rules and routes that explain an obstacle are read no more often. */
const TABLES_MS = 10_000;
/** Nor counters and the interface: a probe waits much longer for its answer. */
const COUNTERS_MS = 250;
const UPLINK_MS = 100;

export class FactsReader {
  readonly #options: FactsReaderOptions;
  readonly #tunnels: TunnelWatch;
  #tables: { readonly tables: RoutingTables; readonly readMs: number } | null = null;
  #counters: { readonly drops: Drops; readonly readMs: number } | null = null;
  /** By the name of the interface. */
  readonly #uplinks = new Map<string, { readonly link: Link | null; readonly readMs: number }>();

  constructor(options: FactsReaderOptions) {
    this.#options = options;
    this.#tunnels = new TunnelWatch({
      now: options.now,
      interfaceOf: (family) => this.#uplink(family)?.index ?? null,
      sourceOf: (family) => options.sources()[family] ?? null,
    });
  }

  /** Begins to look at a target's packets. */
  inspect(target: ProbeTarget): Inspection {
    let before = this.#drops();
    let onLink = this.#nextHop(target);
    let wasSilent = false;
    let problemBefore: string | null = null;
    this.#tunnels.begin(target, onLink);
    return {
      begin: () => {
        before = this.#drops();
        problemBefore = this.#options.membershipProblem();
        onLink = this.#nextHop(target);
        this.#tunnels.renew(target, onLink);
        const entry = this.#neighbour(onLink);
        wasSilent = isSilent(entry);
        // A second host with the same address answers too.
        if (entry !== null) this.#tunnels.askWho(target);
      },
      facts: () => {
        const facts = this.#read(target, onLink, before);
        // What was sent before it ended got no answer.
        const membershipProblem = this.#options.membershipProblem() ?? problemBefore;
        const isNeighbourNew = wasSilent && facts.neighbour === "answers";
        return { ...facts, membershipProblem, isNeighbourNew };
      },
      askLink: () => {
        const entry = this.#neighbour(onLink);
        if (entry === null) return;
        this.#askLink(entry);
        this.#tunnels.askWho(target);
      },
      end: () => this.#tunnels.end(target),
    };
  }

  /** Takes what the network reports of a tunnel packet. */
  notice(notice: TunnelNotice): void {
    this.#tunnels.notice(notice);
  }

  /** Call it once. */
  close(): void {
    this.#tunnels.close();
  }

  #read(
    target: ProbeTarget,
    onLink: Address,
    before: Drops,
  ): Omit<LocalFacts, "isNeighbourNew" | "membershipProblem"> {
    const now = this.#drops();
    const tunnel = this.#tunnels.evidence(target);
    const neighbour = this.#neighbour(onLink);
    return {
      link: this.#linkState(target.outer.family),
      obstacle: this.#obstacle(target),
      router: onLink.equals(target.outer) ? null : onLink,
      neighbour: this.#isIgnored(neighbour, tunnel) ? "ignored" : neighbourState(neighbour, tunnel),
      pathMtuBytes: this.#pathMtuBytes(target),
      neighbourMac: neighbour?.mac ?? null,
      isNeighbourFixed: ((neighbour?.state ?? 0) & NUD_PERMANENT) !== 0,
      neighbourRefusals: Number(now.neighbourRefusals - before.neighbourRefusals),
      reversePathDrops: now.reversePath - before.reversePath,
      checksumErrors: now.tcpChecksum - before.tcpChecksum,
      tunnel,
      isTunnelUnwatched: this.#tunnels.isWaiting(target),
    };
  }

  #drops(): Drops {
    const nowMs = this.#options.now();
    if (this.#counters === null || nowMs - this.#counters.readMs > COUNTERS_MS) {
      const tables = readNeighbourTables(this.#options.netlink);
      const neighbourRefusals = tables.reduce((sum, { refusals }) => sum + refusals, 0n);
      this.#counters = { drops: { ...readDropCounters(), neighbourRefusals }, readMs: nowMs };
    }
    return this.#counters.drops;
  }

  #linkState(family: Family): LinkState {
    const name = this.#options.interfaces()[family] ?? null;
    const link = this.#uplink(family);
    if (link === null) return { name, problem: name === null ? null : "is gone" };
    if (!link.isUp) return { name, problem: "is down" };
    if ((link.flags & IFF_LOWER_UP) === 0) return { name, problem: "has no carrier" };
    const source = this.#options.sources()[family];
    const isLost = source !== undefined && !this.#isOwn(source);
    return { name, problem: isLost ? `has lost the address ${source}` : null };
  }

  #isOwn(address: Address): boolean {
    try {
      return this.#options.netlink.get(encodeRouteLookup(address), decodeRoute).type === RTN_LOCAL;
    } catch (error) {
      // No route leads there.
      if (error instanceof NetlinkError) return false;
      throw error;
    }
  }

  #obstacle({ peer, subnet, outer, path }: ProbeTarget): Obstacle | null {
    const interfaces = this.#options.interfaces();
    const ownDevices = this.#options.devices();
    const devices = path === "direct" ? [...ownDevices, ...Object.values(interfaces)] : ownDevices;
    const [problem] = checkRouting(this.#options.netlink, {
      peers: [{ key: peer, subnets: [subnet], publicAddresses: [outer], devices, routers: null }],
      interfaces,
      sources: this.#options.sources(),
      // That of the tunnel device, which this host's own packets have, and that of the containers' bridge.
      ownAddresses: Object.values(this.#options.ownSubnets()).flatMap(({ base }) => [base, base.plus(1)]),
      withLongerRoutes: false,
      tables: (read) => this.#explanation(read),
    });
    if (problem === undefined) return null;
    return { text: problem.text, isMissingRoute: problem.isMissingRoute };
  }

  #explanation(read: () => RoutingTables): RoutingTables {
    const nowMs = this.#options.now();
    if (this.#tables === null || nowMs - this.#tables.readMs > TABLES_MS)
      this.#tables = { tables: read(), readMs: nowMs };
    return this.#tables.tables;
  }

  /**
   * Has the kernel ask the link again for an address that is silent. On its own it believes an old answer for up to a
   * minute (arp(7), base_reachable_time).
   */
  #askLink({ interfaceIndex, address, mac, state }: Neighbour): void {
    if (mac === null || (state & BELIEVED) === 0) return;
    const request = encodeNewNeighbour({ interfaceIndex, address, mac, state: NUD_PROBE }, NLM_F_REPLACE);
    try {
      this.#options.netlink.request(request);
    } catch (error) {
      // It has gone meanwhile: then the kernel asks the link anyway.
      if (!(error instanceof NetlinkError) || error.errnoName !== "ENOENT") throw error;
    }
  }

  /** Where on the link the kernel sends packets to a target's public address: to that itself, or to a router. */
  #nextHop({ outer }: ProbeTarget): Address {
    const source = this.#options.sources()[outer.family];
    const request = encodeRouteLookup(outer, source === undefined ? {} : { source });
    try {
      const { gateway } = this.#options.netlink.get(request, decodeRoute);
      return gateway?.family === outer.family ? gateway : outer;
    } catch (error) {
      // No route leads there.
      if (error instanceof NetlinkError) return outer;
      throw error;
    }
  }

  #pathMtuBytes({ outer }: ProbeTarget): number | null {
    const source = this.#options.sources()[outer.family];
    const request = encodePathLookup(outer, source === undefined ? {} : { source });
    try {
      return this.#options.netlink.get(request, decodePath).mtuBytes;
    } catch (error) {
      // No route leads there.
      if (error instanceof NetlinkError) return null;
      throw error;
    }
  }

  /** The kernel's entry for an address on the link that carries the tunnel; null when it has none. */
  #neighbour(address: Address): Neighbour | null {
    const { netlink } = this.#options;
    const index = this.#uplink(address.family)?.index;
    if (index === undefined) return null;
    try {
      return netlink.get(encodeGetNeighbour({ interfaceIndex: index, address }), decodeNeighbour);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      if (error.errno !== EOPNOTSUPP) return null;
      // Before Linux 5.0 the kernel tells of all entries only.
      const all: readonly Neighbour[] = netlink.dump(encodeNeighbourDump(index), decodeNeighbour);
      return all.find((entry) => entry.interfaceIndex === index && entry.address.equals(address)) ?? null;
    }
  }

  /**
   * Whether answers of the link reach the interface and not the kernel's table. The interface shows them before any firewall does;
   * the kernel notes when it takes one.
   */
  #isIgnored(entry: Neighbour | null, tunnel: TunnelEvidence | null): boolean {
    if (entry === null || !isSilent(entry)) return false;
    if (tunnel?.askedMs == null || !tunnel.macs?.length) return false;
    const { interfaceIndex, address } = entry;
    const request = encodeGetNeighbour({ interfaceIndex, address });
    try {
      const agoMs = this.#options.netlink.get(request, decodeConfirmedAgo);
      return agoMs > this.#options.now() - tunnel.askedMs;
    } catch (error) {
      // It has gone meanwhile, or the kernel is too old to tell of one entry.
      if (error instanceof NetlinkError) return false;
      throw error;
    }
  }

  #uplink(family: Family): Link | null {
    const name = this.#options.interfaces()[family];
    if (name === undefined) return null;
    const nowMs = this.#options.now();
    const known = this.#uplinks.get(name);
    if (known !== undefined && nowMs - known.readMs < UPLINK_MS) return known.link;
    const link = this.#readLink(name);
    this.#uplinks.set(name, { link, readMs: nowMs });
    return link;
  }

  #readLink(name: string): Link | null {
    try {
      return this.#options.netlink.get(encodeGetLink({ name }), decodeLink);
    } catch (error) {
      if (error instanceof NetlinkError && error.errnoName === "ENODEV") return null;
      throw error;
    }
  }
}

/** The kernel has asked, or asks, in vain. */
function isSilent(entry: Neighbour | null): boolean {
  return entry !== null && (entry.state & SILENT) !== 0;
}

/** The kernel itself takes some seconds until it no longer believes an entry. */
function neighbourState(entry: Neighbour | null, tunnel: TunnelEvidence | null): LocalFacts["neighbour"] {
  if (entry === null) return "unknown";
  if (isSilent(entry) || tunnel?.macs?.length === 0) return "silent";
  const isConfirmed = (entry.state & NUD_REACHABLE) !== 0 || tunnel?.macs != null;
  return isConfirmed ? "answers" : "unknown";
}
