/** Which host an inner address belongs to, and which peer a datagram comes from. No I/O. */

import {
  ADDRESS_BITS,
  type Address,
  entriesOf,
  type Family,
  type PerFamily,
  type Prefix,
} from "../../ipam/addresses/ip.ts";
import { encodeSocketAddress } from "../netlink/socket-address.ts";
import type { Arena } from "./arena.ts";

/** A peer of the data path. */
export interface PathPeer {
  readonly subnets: PerFamily<Prefix>;
  /** Source and destination of its datagrams. */
  readonly address: Address;
  /** UDP port to send to. */
  readonly port: number;
  /**
   * True for tulle, which reads bursts at line rate and copies congestion marks from the outer header to the inner one.
   * flannel's proxy does neither.
   */
  readonly isFast: boolean;
}

export interface IndexedPeer extends PathPeer {
  /** `struct sockaddr_in` or `sockaddr_in6`. */
  readonly socketAddress: Uint8Array;
}

/** The first bits of an address: a number for IPv4, text for IPv6. */
type BitsKey = number | string;

/** All subnets of one length. */
interface SubnetTable {
  readonly bits: number;
  readonly peers: Map<BitsKey, IndexedPeer>;
}

interface OwnSubnet {
  readonly family: Family;
  readonly bits: number;
  readonly key: BitsKey;
  readonly base: Uint8Array;
}

export class PeerIndex {
  readonly #arena: Arena;
  readonly #peers = new Map<string, IndexedPeer>();
  /** Longest subnets first. */
  readonly #tables: Readonly<Record<Family, SubnetTable[]>> = { 4: [], 6: [] };
  readonly #bySource = new Map<BitsKey, IndexedPeer>();
  /** The last lookup: packets come in trains. */
  readonly #lastWords = new Uint32Array(4);
  #lastFamily: Family | 0 = 0;
  #lastPeer: IndexedPeer | null = null;
  #own: readonly OwnSubnet[] = [];

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Replaces this host's subnets. */
  setOwn(subnets: PerFamily<Prefix>): void {
    this.#own = entriesOf(subnets).map(([family, { base, length }]) => ({
      family,
      bits: length,
      key: keyOf(base, length),
      base: base.toBytes(),
    }));
  }

  /** The first address of this host's subnet, which its tunnel device has; null without one. */
  ownBase(family: Family): Uint8Array | null {
    return this.#own.find((own) => own.family === family)?.base ?? null;
  }

  /** Whether the address at this offset of the arena lies in a subnet of this host. */
  isOwn(at: number, family: Family): boolean {
    for (const own of this.#own) {
      if (own.family === family && this.#keyAt(at, family, own.bits) === own.key) return true;
    }
    return false;
  }

  /** Adds a peer, or replaces the one with this id. */
  set(id: string, peer: PathPeer): void {
    this.delete(id);
    const entry: IndexedPeer = { ...peer, socketAddress: encodeSocketAddress(peer.address, peer.port) };
    this.#peers.set(id, entry);
    this.#bySource.set(keyOf(peer.address, ADDRESS_BITS[peer.address.family]), entry);
    for (const [family, subnet] of entriesOf(peer.subnets)) {
      this.#table(family, subnet.length).set(keyOf(subnet.base, subnet.length), entry);
    }
  }

  delete(id: string): void {
    const entry = this.#peers.get(id);
    this.#lastFamily = 0;
    if (entry === undefined) return;
    this.#peers.delete(id);
    const source = keyOf(entry.address, ADDRESS_BITS[entry.address.family]);
    if (this.#bySource.get(source) === entry) this.#bySource.delete(source);
    for (const [family, subnet] of entriesOf(entry.subnets)) {
      const table = this.#table(family, subnet.length);
      const key = keyOf(subnet.base, subnet.length);
      if (table.get(key) === entry) table.delete(key);
    }
  }

  /** The peer with this id; null when there is none. */
  get(id: string): IndexedPeer | null {
    return this.#peers.get(id) ?? null;
  }

  /** The peer whose subnet holds the address at this offset of the arena; null when there is none. */
  ownerOf(at: number, family: Family): IndexedPeer | null {
    if (this.#isLast(at, family)) return this.#lastPeer;
    let found: IndexedPeer | null = null;
    for (const { bits, peers } of this.#tables[family]) {
      found = peers.get(this.#keyAt(at, family, bits)) ?? null;
      if (found !== null) break;
    }
    this.#remember(at, family, found);
    return found;
  }

  /** The peer with this source address, at an offset of the arena; null for a stranger. */
  senderAt(at: number, family: Family): IndexedPeer | null {
    return this.#bySource.get(this.#keyAt(at, family, ADDRESS_BITS[family])) ?? null;
  }

  #table(family: Family, bits: number): Map<BitsKey, IndexedPeer> {
    const tables = this.#tables[family];
    let table = tables.find((one) => one.bits === bits);
    if (table === undefined) {
      table = { bits, peers: new Map() };
      tables.push(table);
      tables.sort((a, b) => b.bits - a.bits);
    }
    return table.peers;
  }

  #isLast(at: number, family: Family): boolean {
    if (this.#lastFamily !== family) return false;
    const words = family === 4 ? 1 : 4;
    for (let word = 0; word < words; word++) {
      if (this.#arena.view.getUint32(at + word * 4) !== this.#lastWords[word]) return false;
    }
    return true;
  }

  #remember(at: number, family: Family, peer: IndexedPeer | null): void {
    const words = family === 4 ? 1 : 4;
    for (let word = 0; word < words; word++)
      this.#lastWords[word] = this.#arena.view.getUint32(at + word * 4);
    this.#lastFamily = family;
    this.#lastPeer = peer;
  }

  #keyAt(at: number, family: Family, bits: number): BitsKey {
    const { view } = this.#arena;
    return family === 4
      ? firstBits(view.getUint32(at), bits)
      : wordsKey(bits, (word) => view.getUint32(at + word * 4));
  }
}

function keyOf(address: Address, bits: number): BitsKey {
  const bytes = Buffer.from(address.toBytes());
  return address.family === 4
    ? firstBits(bytes.readUInt32BE(), bits)
    : wordsKey(bits, (word) => bytes.readUInt32BE(word * 4));
}

function wordsKey(bits: number, wordAt: (word: number) => number): string {
  let key = "";
  for (let word = 0; word * 32 < bits; word++) key += `${firstBits(wordAt(word), bits - word * 32)},`;
  return key;
}

/** The first `bits` of a word, the others zero. */
function firstBits(word: number, bits: number): number {
  return bits >= 32 ? word : (word & ~(0xffff_ffff >>> bits)) >>> 0;
}
