/** What the running daemon knows of peers, for an explanation. Without one the kernel alone is asked. */

import { type Address, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { errorMessage, TulleError } from "../../ipam/errors.ts";
import { labelOf } from "../../ipam/hosts/host-label.ts";
import { readStrayKey } from "../../ipam/leases/lease-codec.ts";
import type { PathCause } from "../probes/path-cause.ts";
import type { ProbeTarget } from "../probes/probe.ts";
import type { PathHealth } from "../probes/prober.ts";
import { readTargets, type TargetList } from "../probes/target-list.ts";
import { askStatus } from "../report/ask-status.ts";
import { askControl } from "../report/control.ts";
import type { StatusReport } from "../report/status.ts";

export interface Peer {
  readonly target: ProbeTarget;
  /** For a sentence: the lease, and the host's name where it is known. */
  readonly label: string;
  /** Null where paths are not probed. */
  readonly health: PathHealth | null;
}

/** What probes say of the path to a peer. */
export interface Proven {
  /** Why packets do not arrive; null where nothing is proven to be wrong. */
  readonly cause: PathCause | null;
  /** Null where it is not known that they are answered. */
  readonly roundTripMs: number | null;
}

/**
 * A peer's health is that of the worst of its families: what concerns another one is left out, and what takes a part of the
 * subnet elsewhere, because the kernel was asked for the route of this packet.
 */
export function provenOf({ target, health }: Pick<Peer, "target" | "health">): Proven {
  if (health === null) return { cause: null, roundTripMs: null };
  const { state, cause, roundTripMs } = health;
  const isConcerned =
    cause !== null && cause.isPartial !== true && (cause.family ?? target.family) === target.family;
  return {
    cause: isConcerned ? cause : null,
    // A round trip that was measured before the path went silent does not show that it works now.
    roundTripMs: state === "good" ? roundTripMs : null,
  };
}

export interface Knowledge {
  /** The peer whose subnet contains an address. */
  peerOf(address: Address): Peer | null;
  /** The peer that tunnel packets to an address are for. */
  peerBehind(outer: Address): Peer | null;
  /** Why the lease that contains an address is not used; null where there is none or it is. */
  rejectionOf(address: Address): string | null;
  /** The devices by which packets to peers leave; empty where they are not known. */
  readonly devices: readonly string[];
  /** The network's ranges; empty where they are not known. */
  readonly ranges: readonly Prefix[];
  /** This host's; none where they are not known. */
  readonly ownSubnets: PerFamily<Prefix>;
  /** Why nothing is known of peers; null where something is. */
  readonly problem: string | null;
}

export const NOTHING_KNOWN: Knowledge = {
  peerOf: () => null,
  peerBehind: () => null,
  rejectionOf: () => null,
  devices: [],
  ranges: [],
  ownSubnets: {},
  problem: null,
};

/** Asks the daemon. One that does not answer, or has not joined its network, is what is said as the problem. */
export async function readKnowledge(runDir: string, signal: AbortSignal): Promise<Knowledge> {
  try {
    const [list, status] = await Promise.all([
      askControl(runDir, "/probe-targets", signal).then(readTargets),
      askStatus(runDir, signal),
    ]);
    return knowledgeOf(list, status ?? {});
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return { ...NOTHING_KNOWN, problem: `leases and peers are not known: ${errorMessage(error)}` };
  }
}

function knowledgeOf(
  { targets, hostNames, devices, subnets }: TargetList,
  { peers = [], refused = [], network }: Partial<StatusReport>,
): Knowledge {
  const healthOf = new Map(peers.map(({ key, health }) => [key, health ?? null]));
  const find = (isIt: (target: ProbeTarget) => boolean): Peer | null => {
    const target = targets.find(isIt);
    if (target === undefined) return null;
    const name = Object.hasOwn(hostNames, target.peer) ? (hostNames[target.peer] ?? null) : null;
    return { target, label: labelOf(target.peer, name), health: healthOf.get(target.peer) ?? null };
  };
  return {
    peerOf: (address) => find(({ subnet }) => subnet.contains(address)),
    peerBehind: (address) => find(({ outer }) => outer.equals(address)),
    rejectionOf: (address) =>
      refused.find(({ key }) => Object.values(readStrayKey(key) ?? {}).some((one) => one.contains(address)))
        ?.reason ?? null,
    devices,
    ranges: (network?.ranges ?? []).map((text) => Prefix.parse(text)),
    ownSubnets: subnets,
    problem: null,
  };
}
