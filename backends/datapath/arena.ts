/**
 * All memory of the data path, in one piece that never moves: system calls get addresses as plain numbers, and a
 * packet costs no JavaScript object. WebAssembly memory whose initial size is its maximum cannot be reallocated.
 *
 * Structures are written field by field; their layouts are those of 64-bit Linux (socket(7), readv(2), cmsg(3)).
 */

import { addressOf } from "../netlink/libc.ts";

const PAGE_BYTES = 65_536;

/** struct iovec: base u64, length u64. */
export const IOVEC_BYTES = 16;
/** struct mmsghdr: struct msghdr, then the number of bytes sent or received. */
export const MMSGHDR_BYTES = 64;
/** struct msghdr, by offset. */
export const MSG = {
  name: 0,
  nameLength: 8,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
} as const;
export const MMSG_LENGTH = 56;
/** struct cmsghdr: length u64, level i32, type i32. */
export const CMSG_HEADER_BYTES = 16;
/** A control message whose data fits in 8 bytes, padded (CMSG_SPACE). */
export const CMSG_SPACE = 24;

export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where offset 0 is in the process's memory. */
  readonly base: number;
  #used = 0;

  /** Throws RangeError when the addresses do not fit a JavaScript number, which no 64-bit Linux gives out. */
  constructor(capacityBytes: number) {
    const pages = Math.ceil(capacityBytes / PAGE_BYTES);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    const base = addressOf(this.bytes);
    if (base > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`the arena is at address ${base}`);
    this.base = Number(base);
  }

  /** Reserves `length` bytes at a multiple of `alignment` and returns their offset. */
  reserve(length: number, alignment = 64): number {
    const offset = Math.ceil(this.#used / alignment) * alignment;
    if (offset + length > this.bytes.length) throw new RangeError(`the arena has no ${length} bytes left`);
    this.#used = offset + length;
    return offset;
  }

  /** Writes the address of `offset` as a pointer at `at`. */
  pointer(at: number, offset: number): void {
    this.#u64(at, offset === 0 ? 0 : this.base + offset);
  }

  /** Writes a size_t. */
  size(at: number, value: number): void {
    this.#u64(at, value);
  }

  /** Writes a struct iovec. */
  iovec(at: number, offset: number, length: number): void {
    this.#u64(at, this.base + offset);
    this.#u64(at + 8, length);
  }

  #u64(at: number, value: number): void {
    this.view.setUint32(at, value >>> 0, true);
    this.view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  }
}
