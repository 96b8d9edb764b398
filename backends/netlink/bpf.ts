/** Classic BPF (Documentation/networking/filter): instructions of socket filters, and their bytes. No I/O. */

/** linux/bpf_common.h and linux/filter.h: loads from the packet, at a fixed place or relative to the register X. */
export const LOAD_WORD = 0x20;
export const LOAD_HALF = 0x28;
export const LOAD_BYTE = 0x30;
export const LOAD_WORD_AT_X = 0x40;
export const LOAD_HALF_AT_X = 0x48;
export const LOAD_BYTE_AT_X = 0x50;
/** A number into X, or 4*([k]&0xf): the length of an IPv4 header. */
export const LOAD_INTO_X = 0x01;
export const LOAD_HEADER_LENGTH = 0xb1;

export const JUMP = 0x05;
export const JUMP_IF_EQUAL = 0x15;
export const JUMP_IF_AT_LEAST = 0x35;
export const RETURN = 0x06;
/** An operand of RETURN: the packet passes uncut. */
export const WHOLE_PACKET = 0xffffffff;

/** Code, how far to jump if true and if false, operand. */
export type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** The program as setsockopt(SO_ATTACH_FILTER) takes it. */
export function assemble(program: readonly Instruction[]): Uint8Array {
  return Buffer.concat(program.map(encode));
}

/** `struct sock_filter`. */
function encode([code, ifTrue, ifFalse, operand]: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(operand, 4);
  return bytes;
}
