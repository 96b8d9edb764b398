/** What passes between the daemon's thread and the data path's: plain values, because a thread has classes of its own. */

import type { MessagePort } from "node:worker_threads";
import { Address, mapFamilies, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { PathPeer } from "./peer-index.ts";

/** Where datagrams arrive, and their source. */
export interface Listener {
  readonly address: string;
  readonly port: number;
}

/** A descriptor of the device or of a socket. */
export interface PathFile {
  readonly name: string;
  readonly fd: number;
  /** False for one that this run has opened. */
  readonly isAdopted: boolean;
}

/** What the thread is started with. */
export interface PathSettings {
  /** Name of the TUN device, which exists. */
  readonly device: string;
  readonly listeners: readonly Listener[];
  /** Messages to the thread and back. */
  readonly port: MessagePort;
  /** An eventfd that ends the thread's wait for packets; written after each message. */
  readonly wakeFd: number;
  readonly counters: SharedArrayBuffer;
  /** Descriptors of a former run, by their names (path-files.ts). */
  readonly kept: ReadonlyMap<string, number>;
  /** File of the network namespace; null for that of the thread that starts it. */
  readonly netns: string | null;
}

export interface PeerText {
  readonly subnets: PerFamily<string>;
  readonly address: string;
  readonly port: number;
  readonly isFast: boolean;
}

export type ToPath =
  | {
      readonly type: "follow";
      readonly own: PerFamily<string>;
      readonly set: readonly (readonly [id: string, peer: PeerText])[];
      readonly deleted: readonly string[];
    }
  /** Has a probe sent to a peer: see path-probe.ts. */
  | { readonly type: "probe"; readonly id: string; readonly nonce: string; readonly bytes: number }
  | { readonly type: "stop" };

export type FromPath =
  /** What keeps packets from flowing; null when they flow. */
  | { readonly type: "problem"; readonly problem: string | null }
  /** What the thread has open now. */
  | { readonly type: "files"; readonly files: readonly PathFile[] }
  /** The peer with this address answered a probe. */
  | { readonly type: "answer"; readonly nonce: string; readonly address: string };

export function parsePeer({ subnets, address, port, isFast }: PeerText): PathPeer {
  return { subnets: parseSubnets(subnets), address: Address.parse(address), port, isFast };
}

export function parseSubnets(subnets: PerFamily<string>): PerFamily<Prefix> {
  return mapFamilies(subnets, (text) => Prefix.parse(text));
}
