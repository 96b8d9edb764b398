/**
 * Which peers this host sends packets to, as far as the kernel tells: it keeps the time of the last use of forwarding
 * entries and of neighbours on a link.
 *
 * Backends whose devices have neither (WireGuard, IPIP, udp) show no use; their peers are probed in turn.
 */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import {
  decodeUseWithin,
  type EntryUse,
  encodeFdbDump,
  encodeNeighbourDump,
} from "../../backends/netlink/neighbour.ts";
import type { ProbeTarget } from "./probe.ts";

/** An entry is in use when this many samples in a row saw it used. */
const SAMPLES = 3;
/** Sending our own probe uses the entry too: what follows it this closely is not traffic. */
const OWN_MS = 300;

/**
 * When the entries for a remote address were last used, by the address, as far as that is not longer ago than `recentMs`.
 * Throws NetlinkError.
 */
export function readUses(
  netlink: NetlinkConnection,
  devices: readonly string[],
  interfaces: readonly string[],
  { nowMs, recentMs }: { readonly nowMs: number; readonly recentMs: number },
): ReadonlyMap<string, number> {
  const links: readonly Link[] = netlink.dump(encodeLinkDump(), decodeLink);
  const uses = new Map<string, number>();
  const decode = decodeUseWithin(recentMs);
  const note = ({ address, idleMs }: EntryUse): void => {
    const key = address.toString();
    uses.set(key, Math.max(uses.get(key) ?? Number.NEGATIVE_INFINITY, nowMs - idleMs));
  };
  for (const { name, index, type } of links) {
    if (devices.includes(name) && type === "vxlan") netlink.dump(encodeFdbDump(index), decode).forEach(note);
    if (interfaces.includes(name)) netlink.dump(encodeNeighbourDump(index), decode).forEach(note);
  }
  return uses;
}

/** Tells continuous use from single packets, such as answers to a peer's own probes. Pure. */
export class UsageTracker {
  #streaks: ReadonlyMap<string, number> = new Map();
  #sampledMs = Number.NEGATIVE_INFINITY;

  /** The ids of the targets in use, after one more sample. `probedMs` tells when we last probed one. */
  sample(
    targets: Iterable<ProbeTarget>,
    uses: ReadonlyMap<string, number>,
    probedMs: (id: string) => number,
    nowMs: number,
  ): ReadonlySet<string> {
    const streaks = new Map<string, number>();
    for (const { id, outer } of targets) {
      const usedMs = uses.get(outer.toString()) ?? Number.NEGATIVE_INFINITY;
      if (usedMs <= this.#sampledMs) continue;
      // Our own probe hides what was sent before it: nothing is known.
      const isOwn = Math.abs(usedMs - probedMs(id)) < OWN_MS;
      streaks.set(id, (this.#streaks.get(id) ?? 0) + (isOwn ? 0 : 1));
    }
    this.#streaks = streaks;
    this.#sampledMs = nowMs;
    return new Set([...streaks].flatMap(([id, count]) => (count >= SAMPLES ? [id] : [])));
  }
}
