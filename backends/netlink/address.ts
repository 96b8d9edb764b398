/** Addresses of interfaces (linux/if_addr.h): `ip address`. Messages only, no I/O. */

import type { Address, InterfaceAddress } from "../../ipam/addresses/ip.ts";
import { CREATE, MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import {
  AF_OF,
  AF_UNSPEC,
  familyOf,
  RT_SCOPE_HOST,
  RT_SCOPE_UNIVERSE,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from "./rtnetlink.ts";

/** linux/if_addr.h */
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFADDRMSG_BYTES = 8;

/** linux/if_addr.h: flags of an address. */
export const IFA_F_NODAD = 0x02;
export const IFA_F_DADFAILED = 0x08;
export const IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40;
export const IFA_F_PERMANENT = 0x80;

export interface AddressSpec extends InterfaceAddress {
  readonly interfaceIndex: number;
  /** The other end of a point-to-point link; default none. */
  readonly peer?: Address;
  readonly broadcast?: Address;
  /** RT_SCOPE_*; default host for loopback addresses, else universe. */
  readonly scope?: number;
  /** IFA_F_*; default none. */
  readonly flags?: number;
}

/** An address as the kernel shows it. */
export interface KernelAddress extends InterfaceAddress {
  readonly interfaceIndex: number;
  readonly scope: number;
  /** IFA_F_* */
  readonly flags: number;
  readonly peer: Address | null;
  readonly broadcast: Address | null;
  /** IPv4 only; empty elsewhere. */
  readonly label: string;
}

/** `ip address add ADDRESS/LENGTH dev DEVICE` (with REPLACE: `ip address replace`). */
export function encodeNewAddress(spec: AddressSpec, flags = CREATE): Buffer {
  const message = write(RTM_NEWADDR, flags, spec);
  if (spec.broadcast !== undefined) message.attrAddress(IFA_BROADCAST, spec.broadcast);
  if (spec.flags !== undefined) message.attrU32(IFA_FLAGS, spec.flags);
  return message.finish();
}

/** `ip address del ADDRESS/LENGTH dev DEVICE`; the kernel answers EADDRNOTAVAIL when it is absent. */
export function encodeDeleteAddress(spec: AddressSpec): Buffer {
  return write(RTM_DELADDR, 0, spec).finish();
}

/** `ip address show [dev DEVICE]`: both families; a request with an index needs strict checking. */
export function encodeAddressDump(interfaceIndex = 0): Buffer {
  return new MessageWriter(RTM_GETADDR, NLM_F_DUMP)
    .u8(AF_UNSPEC)
    .u8(0)
    .u8(0)
    .u8(0)
    .u32(interfaceIndex)
    .finish();
}

/** Decodes RTM_NEWADDR and RTM_DELADDR; null for families other than IPv4 and IPv6. Throws CodecError. */
export function decodeAddress(message: NetlinkMessage): KernelAddress | null {
  let address: Address | null = null;
  let local: Address | null = null;
  let broadcast: Address | null = null;
  let label = "";
  let flags = message.u8(2);
  const attributes = message.attributes(IFADDRMSG_BYTES);
  if (familyOf(message.u8(0)) === undefined) return null;
  while (attributes.next()) {
    if (attributes.type === IFA_ADDRESS) address = attributes.address();
    else if (attributes.type === IFA_LOCAL) local = attributes.address();
    else if (attributes.type === IFA_BROADCAST) broadcast = attributes.address();
    else if (attributes.type === IFA_LABEL) label = attributes.string();
    else if (attributes.type === IFA_FLAGS) flags = attributes.u32();
  }
  // On a point-to-point link IFA_LOCAL is ours and IFA_ADDRESS the other end's.
  const own = local ?? address;
  if (own === null) return null;
  const peer = address !== null && !address.equals(own) ? address : null;
  const { length, scope } = { length: message.u8(1), scope: message.u8(3) };
  return { address: own, length, interfaceIndex: message.u32(4), scope, flags, peer, broadcast, label };
}

function write(type: number, flags: number, spec: AddressSpec): MessageWriter {
  const { address, peer = address } = spec;
  const scope = spec.scope ?? (address.isLoopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
  return new MessageWriter(type, flags)
    .u8(AF_OF[address.family])
    .u8(spec.length)
    .u8((spec.flags ?? 0) & 0xff)
    .u8(scope)
    .u32(spec.interfaceIndex)
    .attrAddress(IFA_LOCAL, address)
    .attrAddress(IFA_ADDRESS, peer);
}
