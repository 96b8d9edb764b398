/**
 * Netlink messages as bytes (linux/netlink.h `struct nlmsghdr`): a writer for requests, a view for answers.
 *
 *     0       4      6       8          12        16
 *     | length | type | flags | sequence | port id | payload: fixed header, then attributes …
 *
 * Numbers are in host order, and every machine that tulle runs on is little-endian. Sequence numbers and the ACK
 * flag belong to the connection. No I/O, and no knowledge of what any message means.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import { AttributeReader, align, cut, NLA_F_NESTED } from "./attribute.ts";

/** linux/netlink.h: types that every netlink protocol shares. */
export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

/** linux/netlink.h: flags of a request. */
const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
/** Flags of a request that makes something: fail if it exists, change it, make it, put it behind others. */
export const NLM_F_REPLACE = 0x100;
const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

/** linux/netlink.h: flags of an answer. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_ACK_TLVS = 0x200;

/** Create, and fail with EEXIST when the object exists: the only flags that never overwrite a foreign object. */
export const CREATE = NLM_F_CREATE | NLM_F_EXCL;
/** Create, or overwrite the object with the same kernel key, even a foreign one. */
export const REPLACE = NLM_F_CREATE | NLM_F_REPLACE;

const NLMSG_HDRLEN = 16;

const TYPE_OFFSET = 4;
const FLAGS_OFFSET = 6;
const SEQUENCE_OFFSET = 8;
const PORT_ID_OFFSET = 12;

/** Builds one message. Fixed header fields come first, attributes after them. */
export class MessageWriter {
  #bytes: Buffer;
  #length = NLMSG_HDRLEN;

  /** `flags` are added to NLM_F_REQUEST. */
  constructor(type: number, flags: number, capacityBytes = 128) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes).fill(0, 0, NLMSG_HDRLEN);
    this.#bytes.writeUInt16LE(type, TYPE_OFFSET);
    this.#bytes.writeUInt16LE(NLM_F_REQUEST | flags, FLAGS_OFFSET);
  }

  u8(value: number): this {
    this.#bytes[this.#grow(1)] = value;
    return this;
  }

  u16(value: number): this {
    const offset = this.#grow(2);
    this.#bytes.writeUInt16LE(value, offset);
    return this;
  }

  u32(value: number): this {
    const offset = this.#grow(4);
    this.#bytes.writeUInt32LE(value, offset);
    return this;
  }

  attrU8(type: number, value: number): this {
    const offset = this.#attribute(type, 1);
    this.#bytes[offset] = value;
    return this;
  }

  attrU16(type: number, value: number): this {
    const offset = this.#attribute(type, 2);
    this.#bytes.writeUInt16LE(value, offset);
    return this;
  }

  /** A 16-bit number in network order, as port numbers have it. */
  attrU16be(type: number, value: number): this {
    const offset = this.#attribute(type, 2);
    this.#bytes.writeUInt16BE(value, offset);
    return this;
  }

  attrU32(type: number, value: number): this {
    const offset = this.#attribute(type, 4);
    this.#bytes.writeUInt32LE(value, offset);
    return this;
  }

  attrI32(type: number, value: number): this {
    return this.attrU32(type, value >>> 0);
  }

  /** An attribute without payload: its presence says yes. */
  attrFlag(type: number): this {
    this.#attribute(type, 0);
    return this;
  }

  attrBool(type: number, value: boolean): this {
    return this.attrU8(type, value ? 1 : 0);
  }

  /** Text with a closing NUL. */
  attrString(type: number, text: string): this {
    return this.attrBytes(type, Buffer.from(`${text}\0`));
  }

  attrBytes(type: number, payload: Uint8Array): this {
    const offset = this.#attribute(type, payload.length);
    this.#bytes.set(payload, offset);
    return this;
  }

  attrAddress(type: number, address: Address): this {
    if (address.family === 6) return this.attrBytes(type, address.toBytes());
    const offset = this.#attribute(type, 4);
    this.#bytes.writeUInt32BE(Number(address.value), offset);
    return this;
  }

  attrMac(type: number, mac: Mac): this {
    const offset = this.#attribute(type, 6);
    for (let at = 0; at < 6; at++) {
      this.#bytes[offset + at] = hexDigit(mac, at * 3) * 16 + hexDigit(mac, at * 3 + 1);
    }
    return this;
  }

  /** Puts everything that `body` writes inside one attribute. */
  nested(type: number, body: () => void): this {
    const start = this.#attribute(type, 0) - 4;
    body();
    this.#bytes.writeUInt16LE(this.#length - start, start);
    return this;
  }

  /** The same with NLA_F_NESTED set, which newer parts of the kernel insist on. */
  nestedStrict(type: number, body: () => void): this {
    return this.nested(type | NLA_F_NESTED, body);
  }

  /** The finished message. The writer must not be used afterwards. */
  finish(): Buffer {
    this.#bytes.writeUInt32LE(this.#length, 0);
    return this.#bytes.subarray(0, this.#length);
  }

  /** Writes an attribute's header and returns the offset of its payload, which is zero-padded. */
  #attribute(type: number, payloadLength: number): number {
    const padded = align(payloadLength);
    const offset = this.#grow(4 + padded);
    this.#bytes.writeUInt16LE(4 + payloadLength, offset);
    this.#bytes.writeUInt16LE(type, offset + 2);
    if (padded !== payloadLength) this.#bytes.writeUInt32LE(0, offset + padded);
    return offset + 4;
  }

  /** Makes room for `length` more bytes and returns where they start. */
  #grow(length: number): number {
    const start = this.#length;
    const end = start + length;
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, start));
      this.#bytes = larger;
    }
    this.#length = end;
    return start;
  }
}

/** A canonical hexadecimal digit's value. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 58 ? code - 48 : code - 87;
}

/** Gives a request its sequence number, and asks for an acknowledgement or not. Changes the bytes in place. */
export function stamp(bytes: Buffer, offset: number, sequence: number, wantsAck: boolean): void {
  bytes.writeUInt32LE(sequence, offset + SEQUENCE_OFFSET);
  if (!wantsAck) return;
  bytes.writeUInt16LE(bytes.readUInt16LE(offset + FLAGS_OFFSET) | NLM_F_ACK, offset + FLAGS_OFFSET);
}

/** A view of one message inside a buffer. It reads the bytes as they are now: decode before the buffer is reused. */
export class NetlinkMessage {
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #end: number;

  /** Looks at the message that starts at `start` and must end by `limit`. Throws CodecError when it does not fit. */
  constructor(bytes: Uint8Array, start = 0, limit = bytes.length) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#start = start;
    const length = start + NLMSG_HDRLEN > limit ? 0 : this.#bytes.readUInt32LE(start);
    this.#end = start + length;
    if (length < NLMSG_HDRLEN || this.#end > limit) throw cut("a message", start);
  }

  get type(): number {
    return this.#bytes.readUInt16LE(this.#start + TYPE_OFFSET);
  }

  get flags(): number {
    return this.#bytes.readUInt16LE(this.#start + FLAGS_OFFSET);
  }

  get sequence(): number {
    return this.#bytes.readUInt32LE(this.#start + SEQUENCE_OFFSET);
  }

  /** Who asked: the port id of the socket whose request caused a notification, 0 for the kernel itself. */
  get portId(): number {
    return this.#bytes.readUInt32LE(this.#start + PORT_ID_OFFSET);
  }

  /** Payload length in bytes. */
  get length(): number {
    return this.#end - this.#start - NLMSG_HDRLEN;
  }

  /** Where the next message of the same datagram starts. */
  get next(): number {
    return this.#start + align(this.#end - this.#start);
  }

  /** A field of the payload's fixed header; `offset` is counted from the payload's start. Throws CodecError. */
  u8(offset: number): number {
    return this.#bytes.readUInt8(this.#require(offset, 1));
  }

  u16(offset: number): number {
    return this.#bytes.readUInt16LE(this.#require(offset, 2));
  }

  u32(offset: number): number {
    return this.#bytes.readUInt32LE(this.#require(offset, 4));
  }

  i32(offset: number): number {
    return this.#bytes.readInt32LE(this.#require(offset, 4));
  }

  /** A view of some bytes of the payload's fixed header. Throws CodecError. */
  bytes(offset: number, length: number): Buffer {
    const start = this.#require(offset, length);
    return this.#bytes.subarray(start, start + length);
  }

  /** True when these bytes stand anywhere in the payload: a cheap look at what need not be decoded. */
  includes(bytes: Buffer): boolean {
    return this.#bytes.subarray(this.#start + NLMSG_HDRLEN, this.#end).includes(bytes);
  }

  /** The attributes after `headerLength` bytes of fixed header. Throws CodecError when the header is cut. */
  attributes(headerLength: number): AttributeReader {
    return new AttributeReader(this.#bytes, this.#require(0, headerLength) + align(headerLength), this.#end);
  }

  #require(offset: number, length: number): number {
    const start = this.#start + NLMSG_HDRLEN + offset;
    if (start + length > this.#end) throw cut("a message's header", start);
    return start;
  }
}

/** Visits the messages of one datagram, the first `length` bytes of `bytes`. Throws CodecError. */
export function forEachMessage(
  bytes: Buffer,
  length: number,
  visit: (message: NetlinkMessage) => void,
): void {
  for (let start = 0; start < length; ) {
    const message = new NetlinkMessage(bytes, start, length);
    visit(message);
    start = message.next;
  }
}
