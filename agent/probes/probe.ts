/** What is probed, with which packets, and what becomes of them. */

import type { PeerPath } from "../../backends/backend.ts";
import type { TunnelKind } from "../../backends/probe/tunnel-packet.ts";
import type { Address, Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";

/** One family of one peer. */
export interface ProbeTarget {
  /** Unique among all targets: the lease key and the family. */
  readonly id: string;
  readonly peer: LeaseKey;
  readonly family: Family;
  readonly path: PeerPath;
  readonly subnet: Prefix;
  /** An address of the peer in it. */
  readonly inner: Address;
  /** False where the peer has that address only while it has containers: silence proves nothing then. */
  readonly isInnerCertain: boolean;
  /** Its agent is tulled, which probes this host unless it is told not to. */
  readonly sendsProbes: boolean;
  /** The address that tunnel packets are sent to; of either family. */
  readonly outer: Address;
  /** Largest packet of a container, in bytes. */
  readonly mtuBytes: number;
  /** How tunnel packets are recognized, as in "UDP port 8472"; null without a tunnel. */
  readonly tunnel: string | null;
  /** The same for programs. */
  readonly tunnelKind: TunnelKind | null;
}

/** A packet that asks for an answer. */
export type Probe =
  /** An echo request of the largest size to the inner address: what is sent while all is well. */
  | { readonly kind: "full" }
  /** An echo request of the smallest size to the inner address. */
  | { readonly kind: "small" }
  /** An echo request of `bytes` to the inner address: a search for what passes. */
  | { readonly kind: "size"; readonly bytes: number }
  /** A TCP connection to a closed port of the inner address: TCP's checksums are the kernel's and the card's work. */
  | { readonly kind: "tcp" }
  /** A segment to the same port whose checksum was computed here, to tell a checksum fault from a firewall. */
  | { readonly kind: "syn" }
  /** A small echo request to the outer address, beside the tunnel. */
  | { readonly kind: "outer" };

export type Outcome =
  | { readonly type: "answered"; readonly roundTripMs: number }
  | { readonly type: "silent" }
  /** An answer arrived, with a wrong checksum. */
  | { readonly type: "damaged" }
  /** It was not sent, or the network sent an error instead of an answer, from the address `from`. */
  | { readonly type: "error"; readonly text: string; readonly from?: Address };

/** What several attempts of each probe showed. */
export interface Evidence {
  readonly small: Outcome;
  readonly full: Outcome;
  readonly tcp: Outcome;
  readonly outer: Outcome;
  /** Null when it was not sent: TCP was answered, or nothing was. */
  readonly syn: Outcome | null;
  /** Of small packets some were answered and some were not. */
  readonly isLossy: boolean;
  /** Largest echo request that was answered, in bytes; null when that was not looked for, or none was. */
  readonly passesBytes: number | null;
}

export function isAnswered(outcome: Outcome): outcome is Outcome & { readonly type: "answered" } {
  return outcome.type === "answered";
}

const SAID: Readonly<Partial<Record<Outcome["type"], string>>> = {
  answered: "yes",
  silent: "no",
  damaged: "damaged",
};

/** What the probes of an examination showed, in a few words, where no cause is proven. */
export function describeEvidence({ small, full, tcp, outer }: Evidence): string {
  const said = (name: string, outcome: Outcome): string =>
    `${name} ${SAID[outcome.type] ?? (outcome.type === "error" ? outcome.text : "")}`;
  return `answered: ${[
    said("small packets", small),
    said("large packets", full),
    said("TCP", tcp),
    said("public address", outer),
  ].join(", ")}`;
}
