/**
 * One TCP SYN whose checksum is computed here, and whether anything answers it.
 *
 * The kernel leaves checksums of its own segments to the network card, where that says that it can compute them; those of a
 * raw socket (raw(7)) pass the card as they are. A host that answers this segment and not the kernel's gets the latter
 * damaged. Needs CAP_NET_RAW.
 */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import {
  assemble,
  type Instruction,
  JUMP_IF_EQUAL,
  LOAD_HALF_AT_X,
  LOAD_HEADER_LENGTH,
  LOAD_INTO_X,
  RETURN,
  WHOLE_PACKET,
} from "../netlink/bpf.ts";
import { check } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { AF_OF } from "../netlink/rtnetlink.ts";
import { decodeSocketAddress, encodeSocketAddress, MAX_SOCKADDR_BYTES } from "../netlink/socket-address.ts";
import {
  MSG_DONTWAIT,
  SO_ATTACH_FILTER,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
  SOL_SOCKET,
} from "../netlink/socket-constants.ts";
import { checksum } from "./echo-message.ts";

/** linux/in.h */
const IPPROTO_TCP = 6;

/** RFC 9293 section 3.1: a header without options. */
const SEGMENT_BYTES = 20;
const DATA_OFFSET = 0x50;
const SYN = 0x02;
const WINDOW = 1024;

export interface SynOptions {
  readonly target: Address;
  readonly targetPort: number;
  /** The port that it comes from: one that no program uses, 1 to 65535. */
  readonly sourcePort: number;
  /** 32 bits; hard to guess. */
  readonly sequence: number;
}

export class SynSocket {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(64);
  #watch: libc.Watch | null = null;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Sends the segment. Throws NetlinkError: EPERM without CAP_NET_RAW or by a local firewall, ENETUNREACH. */
  static open(options: SynOptions): SynSocket {
    const { target, sourcePort } = options;
    const { family } = target;
    const source = sourceTowards(target);
    const fd = check("raw socket for TCP", libc.socket(AF_OF[family], SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
    try {
      const filter = portFilter(family, sourcePort);
      check("SO_ATTACH_FILTER", libc.setFilterOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter));
      // Only what the target sends is received.
      check(`connect to ${target}`, libc.connect(fd, encodeSocketAddress(target)));
      check(`SYN to ${target}`, libc.send(fd, encodeSyn(source, options)));
      return new SynSocket(fd);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** Calls back once on the event loop, with 0, when the target has answered. The callback must not throw. */
  onOutcome(callback: (errno: number) => void): void {
    this.#watch = libc.watchReadable(this.#fd, () => {
      // An error that the kernel kept for the socket answers nothing.
      if (libc.recv(this.#fd, this.#buffer, MSG_DONTWAIT) < 0) return;
      this.#watch?.close();
      callback(0);
    });
  }

  /** Call it once. */
  close(): void {
    this.#watch?.close();
    libc.close(this.#fd);
  }
}

/** The address that the kernel sends from. Connecting a datagram socket sends nothing. */
function sourceTowards(target: Address): Address {
  const fd = check("datagram socket", libc.socket(AF_OF[target.family], SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    check(`connect to ${target}`, libc.connect(fd, encodeSocketAddress(target, 1)));
    const name = Buffer.alloc(MAX_SOCKADDR_BYTES);
    check("getsockname", libc.getsockname(fd, name));
    return decodeSocketAddress(name, target.family);
  } finally {
    libc.close(fd);
  }
}

/** The segment, with the checksum over it and the pseudo header (RFC 9293, RFC 8200 section 8.1). */
export function encodeSyn(source: Address, { target, targetPort, sourcePort, sequence }: SynOptions): Buffer {
  const segment = Buffer.alloc(SEGMENT_BYTES);
  segment.writeUInt16BE(sourcePort, 0);
  segment.writeUInt16BE(targetPort, 2);
  segment.writeUInt32BE(sequence, 4);
  segment.writeUInt8(DATA_OFFSET, 12);
  segment.writeUInt8(SYN, 13);
  segment.writeUInt16BE(WINDOW, 14);
  const pseudo = Buffer.from([0, IPPROTO_TCP, 0, SEGMENT_BYTES]);
  const covered = Buffer.concat([source.toBytes(), target.toBytes(), pseudo, segment]);
  segment.writeUInt16BE(checksum(covered), 16);
  return segment;
}

/** A raw socket gets a copy of every TCP segment of this host: the filter leaves all but answers to ours in the kernel. */
function portFilter(family: Family, port: number): Uint8Array {
  const program: readonly Instruction[] = [
    family === 4 ? [LOAD_HEADER_LENGTH, 0, 0, 0] : [LOAD_INTO_X, 0, 0, 0],
    [LOAD_HALF_AT_X, 0, 0, 2],
    [JUMP_IF_EQUAL, 0, 1, port],
    [RETURN, 0, 0, WHOLE_PACKET],
    [RETURN, 0, 0, 0],
  ];
  return assemble(program);
}
