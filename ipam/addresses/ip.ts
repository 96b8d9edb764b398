/**
 * IP addresses and prefixes, one implementation for both families (RFC 791, RFC 4291, RFC 5952).
 *
 * Values are immutable and compare by `value`/`toString()`. No I/O, no configuration.
 */

import { AddressError } from "../errors.ts";

export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

/** Something that may exist once per address family. */
export type PerFamily<T> = Readonly<Partial<Record<Family, T>>>;

/** Address width in bits. */
export const ADDRESS_BITS = { 4: 32, 6: 128 } as const satisfies Record<Family, number>;

/** An IPv4 or IPv6 address. */
export class Address {
  readonly family: Family;
  /** The address as an unsigned integer in network order: 0 .. 2^bits - 1. */
  readonly value: bigint;
  #text: string | undefined;

  private constructor(family: Family, value: bigint, text?: string) {
    this.family = family;
    this.value = value;
    this.#text = text;
  }

  /** Parses dotted-quad or RFC 4291 text (no zone, no prefix length). Throws AddressError. */
  static parse(text: string): Address {
    const quad = parseV4(text);
    if (quad !== null) return new Address(4, BigInt(quad), text);
    const value = parseV6(text);
    if (value !== null) return new Address(6, value);
    throw new AddressError(`"${text}" is not an IP address`);
  }

  /** The address in a text; null when it is none, such as a name. */
  static parseOrNull(text: string): Address | null {
    try {
      return Address.parse(text);
    } catch {
      return null;
    }
  }

  /** Builds an address from its integer value. Throws AddressError when out of range. */
  static of(family: Family, value: bigint): Address {
    if (value < 0n || value >> BigInt(ADDRESS_BITS[family]) !== 0n) {
      throw new AddressError(`${value} is outside the IPv${family} address range`);
    }
    return new Address(family, value);
  }

  /** Reads 4 or 16 bytes in network order. Throws AddressError for any other length. */
  static fromBytes(bytes: Uint8Array): Address {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length === 4) return new Address(4, BigInt(view.getUint32(0)));
    if (bytes.length === 16) {
      return new Address(6, (view.getBigUint64(0) << 64n) | view.getBigUint64(8));
    }
    throw new AddressError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  }

  /** The address in network order: 4 or 16 bytes. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(ADDRESS_BITS[this.family] / 8);
    const view = new DataView(bytes.buffer);
    if (this.family === 4) view.setUint32(0, Number(this.value));
    else {
      view.setBigUint64(0, this.value >> 64n);
      view.setBigUint64(8, this.value & 0xffffffffffffffffn);
    }
    return bytes;
  }

  /** The address `offset` places further on. Throws AddressError when that leaves the address range. */
  plus(offset: bigint | number): Address {
    return Address.of(this.family, this.value + BigInt(offset));
  }

  equals(other: Address): boolean {
    return this.value === other.value && this.family === other.family;
  }

  get isUnspecified(): boolean {
    return this.value === 0n;
  }

  /** 224.0.0.0/4 or ff00::/8. */
  get isMulticast(): boolean {
    return this.family === 4 ? this.value >> 28n === 0xen : this.value >> 120n === 0xffn;
  }

  /** 127.0.0.0/8 or ::1. */
  get isLoopback(): boolean {
    return this.family === 4 ? this.value >> 24n === 127n : this.value === 1n;
  }

  /** 169.254.0.0/16 or fe80::/10. */
  get isLinkLocal(): boolean {
    return this.family === 4 ? this.value >> 16n === 0xa9fen : this.value >> 118n === 0x3fan;
  }

  /** Canonical text; RFC 5952 for IPv6. */
  toString(): string {
    this.#text ??= this.family === 4 ? formatV4(this.value) : formatV6(this.value);
    return this.#text;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** A network prefix; host bits are always zero. */
export class Prefix {
  /** The lowest address. */
  readonly base: Address;
  /** 0 .. 32 or 0 .. 128. */
  readonly length: number;

  private constructor(base: Address, length: number) {
    this.base = base;
    this.length = length;
  }

  /** The prefix of `length` bits that holds `address` (host bits are cleared). Throws AddressError. */
  static of(address: Address, length: number): Prefix {
    const bits = ADDRESS_BITS[address.family];
    if (!Number.isInteger(length) || length < 0 || length > bits) {
      throw new AddressError(`an IPv${address.family} prefix length is 0 to ${bits}, not ${length}`);
    }
    const host = BigInt(bits - length);
    const base = (address.value >> host) << host;
    return new Prefix(base === address.value ? address : Address.of(address.family, base), length);
  }

  /** Parses `address/length`; host bits are cleared, as Go's net.ParseCIDR does. Throws AddressError. */
  static parse(text: string): Prefix {
    const { address, length } = parseInterfaceAddress(text);
    return Prefix.of(address, length);
  }

  /** As parse; null for any other text. */
  static parseOrNull(text: string): Prefix | null {
    try {
      return Prefix.parse(text);
    } catch {
      return null;
    }
  }

  get family(): Family {
    return this.base.family;
  }

  /** How many addresses it holds: 2^(bits - length). */
  get size(): bigint {
    return 1n << BigInt(ADDRESS_BITS[this.family] - this.length);
  }

  /** The highest address. */
  get last(): Address {
    return Address.of(this.family, this.base.value + this.size - 1n);
  }

  /** True when `inner` (an address or a prefix) lies wholly inside. */
  contains(inner: Address | Prefix): boolean {
    const base = inner instanceof Prefix ? inner.base : inner;
    if (base.family !== this.family) return false;
    if (inner instanceof Prefix && inner.length < this.length) return false;
    const hostBits = BigInt(ADDRESS_BITS[this.family] - this.length);
    return base.value >> hostBits === this.base.value >> hostBits;
  }

  /** True when the two share an address. */
  overlaps(other: Prefix): boolean {
    return this.length <= other.length ? this.contains(other) : other.contains(this);
  }

  equals(other: Prefix): boolean {
    return this.length === other.length && this.base.equals(other.base);
  }

  /** `base/length`. */
  toString(): string {
    return `${this.base}/${this.length}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** An address on an interface together with the length of its on-link prefix; host bits are kept. */
export interface InterfaceAddress {
  readonly address: Address;
  readonly length: number;
}

/** Parses `address/length` and keeps the host bits (for example `10.2.54.1/24`). Throws AddressError. */
export function parseInterfaceAddress(text: string): InterfaceAddress {
  const slash = text.indexOf("/");
  const lengthText = text.slice(slash + 1);
  if (slash < 0 || !/^\d{1,3}$/.test(lengthText)) {
    throw new AddressError(`"${text}" is not a prefix; write it as address/length`);
  }
  const address = Address.parse(text.slice(0, slash));
  const length = Number(lengthText);
  if (length > ADDRESS_BITS[address.family]) {
    throw new AddressError(
      `"${text}": an IPv${address.family} prefix length is at most ${ADDRESS_BITS[address.family]}`,
    );
  }
  return { address, length };
}

/**
 * The values there are, for what is kept by the thousand: V8 reserves room for 23 values in an object that gets a
 * number for a key, except where it reads the object from JSON (256 bytes against 112).
 */
export function compactPerFamily<T>(read: (family: Family) => T | undefined): PerFamily<T> {
  const [v4, v6] = [read(4), read(6)];
  if (v4 === undefined || v6 !== undefined) {
    return { ...(v4 === undefined ? {} : { 4: v4 }), ...(v6 === undefined ? {} : { 6: v6 }) };
  }
  const values: Partial<Record<Family, T>> = JSON.parse('{"4":null}');
  values[4] = v4;
  return values;
}

/** The entries of `values` in the families that `others` has too, IPv4 first. */
export function entriesShared<T>(values: PerFamily<T>, others: PerFamily<unknown>): [Family, T][] {
  return entriesOf(values).filter(([family]) => others[family] !== undefined);
}

/** The families in which `values` has an entry, IPv4 first. */
export function entriesOf<T>(values: PerFamily<T>): [Family, T][] {
  const { 4: v4, 6: v6 } = values;
  if (v6 === undefined) return v4 === undefined ? [] : [[4, v4]];
  return v4 === undefined
    ? [[6, v6]]
    : [
        [4, v4],
        [6, v6],
      ];
}

/** Maps every present family's entry. */
export function mapFamilies<T, U>(values: PerFamily<T>, map: (value: T, family: Family) => U): PerFamily<U> {
  const mapped: Partial<Record<Family, U>> = {};
  for (const [family, value] of entriesOf(values)) mapped[family] = map(value, family);
  return mapped;
}

/**
 * Four numbers of at most 255 without leading zeros; null for anything else. By hand, because a daemon reads
 * thousands of them at its start and net.isIPv4 takes several times as long.
 */
function parseV4(text: string): number | null {
  let value = 0;
  let part = -1;
  let dots = 0;
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 48;
    if (digit >= 0 && digit <= 9) {
      if (part === 0) return null;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return null;
    } else {
      if (text[index] !== "." || part < 0) return null;
      value = value * 256 + part;
      part = -1;
      dots += 1;
    }
  }
  return dots === 3 && part >= 0 ? value * 256 + part : null;
}

/** Eight groups, or fewer around one `::`; null for anything else. Loading node:net for its test takes long. */
function parseV6(text: string): bigint | null {
  const sides = text.split("::");
  const [high, low] = sides.map((side, index) => groupsOf(side, index === sides.length - 1));
  if (!high || low === null || sides.length > 2) return null;
  const missing = 8 - high.length - (low?.length ?? 0);
  if (low === undefined ? missing !== 0 : missing < 1) return null;
  const zeros: number[] = new Array(missing).fill(0);
  return [...high, ...zeros, ...(low ?? [])].reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

/**
 * 16-bit groups of one side of `::`, null when it is malformed. A dotted quad may stand at the end of the address and
 * counts as two (RFC 4291 §2.2 form 3).
 */
function groupsOf(side: string, mayEndInQuad: boolean): number[] | null {
  if (side === "") return [];
  const groups: number[] = [];
  const parts = side.split(":");
  for (const [index, part] of parts.entries()) {
    const quad = mayEndInQuad && index === parts.length - 1 ? parseV4(part) : null;
    if (quad !== null) groups.push(Math.floor(quad / 65536), quad % 65536);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return null;
  }
  return groups;
}

function formatV4(value: bigint): string {
  const number = Number(value);
  return `${number >>> 24}.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
}

/** RFC 5952 §4: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatV6(value: bigint): string {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn));
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > bestLength) {
      bestStart = start;
      bestLength = end - start;
    }
    start = Math.max(start, end - 1);
  }
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(":");
  if (bestStart < 0) return text(groups);
  return `${text(groups.slice(0, bestStart))}::${text(groups.slice(bestStart + bestLength))}`;
}
