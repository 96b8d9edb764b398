/** The last step on a link: whether the device is up, and which hardware address the packet gets. */

import { IFF_LOWER_UP, IFF_UP, type Link } from "../../backends/netlink/link/link.ts";
import {
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
} from "../../backends/netlink/neighbour.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import type { Scene } from "./scene.ts";

const STATES: readonly (readonly [number, string])[] = [
  [NUD_PERMANENT, "permanent"],
  [NUD_NOARP, "noarp"],
  [NUD_REACHABLE, "reachable"],
  [NUD_STALE, "stale"],
  [NUD_DELAY, "delay"],
  [NUD_PROBE, "probe"],
];

/** Ends the way where the device takes no packets. */
export function requireUp({ steps }: Scene, { name, flags, isUp }: Link): void {
  if (!isUp || (flags & IFF_UP) === 0)
    steps.stop("device", `${name} is down`, { remedy: `ip link set ${name} up` });
  if ((flags & IFF_LOWER_UP) === 0)
    steps.stop("device", `${name} has no carrier: its cable, its peer or the device below is down`, {
      remedy: `look at what ${name} is connected to`,
    });
}

/**
 * The hardware address of a neighbour on a link that asks for them (ARP, neighbour discovery); null while the kernel has to
 * ask first. Ends the way where nothing answered.
 */
export function neighbourOn({ kernel, steps }: Scene, link: Link, address: Address): Mac | null {
  const entry = kernel.neighbour(link.index, address);
  const isFailed = entry !== null && (entry.state & (NUD_FAILED | NUD_INCOMPLETE)) !== 0;
  if (isFailed)
    steps.stop("neighbour", `nothing answers for ${address} on ${link.name}`, { cause: "host-down" });
  if (entry === null || entry.mac === null) {
    steps.doubt("neighbour", `${link.name} has no entry for ${address} yet: the kernel asks the link for it`);
    return null;
  }
  steps.ok("neighbour", `${address} is ${entry.mac} on ${link.name} (${stateName(entry.state)})`);
  return entry.mac;
}

export function stateName(state: number): string {
  return STATES.find(([bit]) => (state & bit) !== 0)?.[1] ?? "no state";
}
