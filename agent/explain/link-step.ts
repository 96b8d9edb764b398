/** The last step on a link: whether the device is up, and which hardware address the packet gets. */

import { IFF_LOWER_UP, type Link } from "../../backends/netlink/link/link.ts";
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
import type { CauseCode } from "../probes/causes.ts";
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
export function requireUp({ steps }: Scene, { name, flags, isUp }: Link, why: Silence = {}): void {
  if (!isUp) steps.stop("device", `${name} is down`, { ...why, remedy: `ip link set ${name} up` });
  if ((flags & IFF_LOWER_UP) === 0)
    steps.stop("device", `${name} has no carrier: its cable, its peer or the device below is down`, {
      ...why,
      remedy: `look at what ${name} is connected to`,
    });
}

/** Ends the way at the bridge of this host's containers where that is down. */
export function requireBridge({ steps }: Scene, { name, isUp }: Link): void {
  if (isUp) return;
  const why = { cause: "bridge-down", remedy: `ip link set ${name} up` } as const;
  steps.stop("device", `bridge ${name} of this host's containers is down`, why);
}

/** Why something is silent, and what to do. */
export interface Silence {
  readonly cause?: CauseCode;
  readonly remedy?: string;
  /** What else is known, as a sentence. */
  readonly seen?: string;
}

/**
 * The hardware address of a neighbour on a link that asks for them (ARP, neighbour discovery); null while the kernel has to
 * ask first. Ends the way where nothing answered, for the reason given.
 */
export function neighbourOn(
  { kernel, steps }: Scene,
  link: Link,
  address: Address,
  silence: Silence,
): Mac | null {
  const entry = kernel.neighbour(link.index, address);
  const isFailed = entry !== null && (entry.state & (NUD_FAILED | NUD_INCOMPLETE)) !== 0;
  const { seen } = silence;
  const more = seen === undefined ? "" : `; ${seen}`;
  if (isFailed) steps.stop("neighbour", `nothing answers for ${address} on ${link.name}${more}`, silence);
  if (entry === null || entry.mac === null) {
    steps.doubt("neighbour", `${link.name} has no entry for ${address} yet: the kernel asks the link for it`);
    return null;
  }
  steps.ok("neighbour", `${address} is ${entry.mac} on ${link.name} (${stateName(entry.state)})`);
  return entry.mac;
}

/** Of an address of this host's containers. */
export const NO_CONTAINER: Silence = {
  remedy: "start the container that has the address: none on that link answers for it",
};

export function stateName(state: number): string {
  return STATES.find(([bit]) => (state & bit) !== 0)?.[1] ?? "no state";
}
