/**
 * Socket filters (Documentation/networking/filter): programs that drop datagrams and segments in the kernel, before a
 * socket has them. No I/O.
 */

import {
  assemble,
  type Instruction,
  JUMP_IF_AT_LEAST,
  JUMP_IF_EQUAL,
  LOAD_HALF,
  LOAD_WORD,
  RETURN,
  WHOLE_PACKET,
} from "./bpf.ts";
import { RTM_NEWROUTE } from "./rtnetlink.ts";

/** Offsets in `struct nlmsghdr`. */
const TYPE_OFFSET = 4;
const PORT_ID_OFFSET = 12;

/** linux/filter.h: loads from there read facts about the packet; this one the index of the interface it came in by. */
const ARRIVAL_INTERFACE = 0xfffff000 + 8;

/**
 * Leaves echoes of our own changes in the kernel: after a batch they would be the bulk of what a monitor has to read.
 *
 * Drops what sockets with these port ids caused, except changes of links and addresses: the kernel itself acts on
 * those, and about forwarding entries it never says who made them.
 */
export function echoFilter(portIds: readonly number[]): Uint8Array {
  const accept = 3 + portIds.length;
  const drop = accept + 1;
  const program: Instruction[] = [
    [LOAD_HALF, 0, 0, TYPE_OFFSET],
    [JUMP_IF_AT_LEAST, 0, accept - 2, networkOrder16(RTM_NEWROUTE)],
    [LOAD_WORD, 0, 0, PORT_ID_OFFSET],
    ...portIds.map((portId, at): Instruction => [JUMP_IF_EQUAL, drop - (4 + at), 0, networkOrder32(portId)]),
    [RETURN, 0, 0, WHOLE_PACKET],
    [RETURN, 0, 0, 0],
  ];
  return assemble(program);
}

/**
 * Passes what came in by one of these interfaces, by their index, and drops all else. For a listening TCP socket too,
 * whose connections inherit it.
 */
export function arrivalFilter(interfaceIndexes: readonly number[]): Uint8Array {
  const program: Instruction[] = [
    [LOAD_WORD, 0, 0, ARRIVAL_INTERFACE],
    ...interfaceIndexes.flatMap((index): Instruction[] => [
      [JUMP_IF_EQUAL, 0, 1, index],
      [RETURN, 0, 0, WHOLE_PACKET],
    ]),
    [RETURN, 0, 0, 0],
  ];
  return assemble(program);
}

/** Loads read in network order, netlink headers are in the host's. Types below 256 keep their order. */
function networkOrder16(value: number): number {
  return Buffer.from(Uint16Array.of(value).buffer).readUInt16BE();
}

function networkOrder32(value: number): number {
  return Buffer.from(Uint32Array.of(value).buffer).readUInt32BE();
}
