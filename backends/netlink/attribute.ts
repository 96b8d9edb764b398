/**
 * Reads netlink attributes (linux/netlink.h `struct nlattr`) with a cursor, so that a dump of many thousand
 * objects leaves no object per attribute behind.
 *
 * Bytes that make no sense end in a CodecError with their offset, never in anything else; what to do with an
 * attribute of an unknown type is the caller's business, and that is to skip it.
 */

import { Address } from "../../ipam/addresses/ip.ts";
import { type Mac, macFromBytes } from "../../ipam/addresses/mac.ts";
import { CodecError } from "../../ipam/errors.ts";

/** linux/netlink.h */
export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLA_HDRLEN = 4;

/**
 * Walks the attributes between two offsets of a buffer:
 * `while (attributes.next()) switch (attributes.type) { … }`.
 * The getters read the current attribute's payload; a longer payload than they need is not an error, because the
 * kernel may extend an attribute at its end.
 */
export class AttributeReader {
  /** The current attribute's type without its flag bits. */
  type = 0;
  /** The current attribute's payload length in bytes. */
  length = 0;
  readonly #bytes: Buffer;
  readonly #end: number;
  #next: number;
  #payload = 0;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#next = start;
    this.#end = end;
  }

  /** Moves to the next attribute; false at the end. Throws CodecError when it does not fit. */
  next(): boolean {
    const start = this.#next;
    const rest = this.#end - start;
    if (rest <= 0) return false;
    const size = rest < NLA_HDRLEN ? 0 : this.#bytes.readUInt16LE(start);
    if (size < NLA_HDRLEN || size > rest) throw cut("an attribute", start);
    this.type = this.#bytes.readUInt16LE(start + 2) & NLA_TYPE_MASK;
    this.length = size - NLA_HDRLEN;
    this.#payload = start + NLA_HDRLEN;
    this.#next = start + align(size);
    return true;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#require(1));
  }

  /** A byte that says yes or no. */
  bool(): boolean {
    return this.u8() !== 0;
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#require(2));
  }

  /** A 16-bit number in network order, as port numbers have it. */
  u16be(): number {
    return this.#bytes.readUInt16BE(this.#require(2));
  }

  /** Of a structure, the word at `offset`. */
  u32(offset = 0): number {
    return this.#bytes.readUInt32LE(this.#require(offset + 4) + offset);
  }

  i32(): number {
    return this.#bytes.readInt32LE(this.#require(4));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#require(8));
  }

  /** Text up to its NUL, or all of it. */
  string(): string {
    const start = this.#payload;
    const nul = this.#bytes.subarray(start, start + this.length).indexOf(0);
    return this.#bytes.toString("utf8", start, start + (nul < 0 ? this.length : nul));
  }

  /** The payload, shared with the buffer: copy it if it must outlive the message. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(this.#payload, this.#payload + this.length);
  }

  /** An IPv4 address in 4 bytes or an IPv6 address in 16, all that follows `headerLength` bytes of payload. */
  address(headerLength = 0): Address {
    const length = this.length - headerLength;
    if (length !== 4 && length !== 16) throw cut("an address", this.#payload);
    return Address.fromBytes(this.bytes().subarray(headerLength));
  }

  /** A hardware address; null for devices whose addresses are not Ethernet's six bytes, such as tunnels. */
  mac(): Mac | null {
    return this.length === 6 ? macFromBytes(this.bytes()) : null;
  }

  /** The attributes inside the current one, after `headerLength` bytes of fixed header. */
  nested(headerLength = 0): AttributeReader {
    const start = this.#require(headerLength);
    return new AttributeReader(this.#bytes, start + headerLength, start + this.length);
  }

  #require(length: number): number {
    if (this.length < length) throw cut(`attribute ${this.type}`, this.#payload);
    return this.#payload;
  }
}

/** Netlink aligns messages and attributes to 4 bytes. */
export function align(length: number): number {
  return (length + 3) & ~3;
}

/** The error for bytes that end too early. `offset` is counted from the start of the buffer. */
export function cut(what: string, offset: number): CodecError {
  return new CodecError(`netlink: ${what} does not fit its bytes at offset ${offset}`, {
    details: { offset },
  });
}
