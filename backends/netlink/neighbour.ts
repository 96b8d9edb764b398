/**
 * Neighbours (linux/neighbour.h), which the kernel keeps in two tables: ARP and NDP entries (`ip neighbour`) map an
 * IP address to a MAC, forwarding entries of a bridge or VXLAN device (`bridge fdb`) map a MAC to a port or remote
 * host. Messages only, no I/O.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import {
  MessageWriter,
  type NetlinkMessage,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  REPLACE,
} from "./message.ts";
import {
  AF_BRIDGE,
  AF_OF,
  AF_UNSPEC,
  familyOf,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from "./rtnetlink.ts";

/** linux/neighbour.h */
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_CACHEINFO = 3;
const NDA_VLAN = 5;
const NDA_PORT = 6;
const NDA_VNI = 7;
const NDA_IFINDEX = 8;
const NDA_MASTER = 9;
const NDMSG_BYTES = 12;

/** The kernel shows these only where they differ from the device's (drivers/net/vxlan, vxlan_fdb_info). */
const DETOURS: ReadonlySet<number> = new Set([NDA_PORT, NDA_VNI, NDA_IFINDEX]);

/** linux/neighbour.h: states of an entry. */
export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_DELAY = 0x08;
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;

/** linux/neighbour.h: flags of an entry. */
export const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
/** Since Linux 4.20; earlier ones ignore it. */
const NTF_STICKY = 0x40;

export interface NeighbourSpec {
  readonly interfaceIndex: number;
  readonly address: Address;
  readonly mac: Mac;
  /** NUD_*; default NUD_PERMANENT. */
  readonly state?: number;
}

/** By what the kernel finds a neighbour. */
type NeighbourKey = Pick<NeighbourSpec, "interfaceIndex" | "address">;

/** An ARP or NDP entry as the kernel shows it. */
export interface Neighbour {
  readonly interfaceIndex: number;
  readonly address: Address;
  /** null while the entry is unresolved. */
  readonly mac: Mac | null;
  /** NUD_* */
  readonly state: number;
  /** NTF_* */
  readonly flags: number;
}

export interface FdbSpec {
  /** The VXLAN device. */
  readonly interfaceIndex: number;
  readonly mac: Mac;
  /** Where frames for `mac` go. */
  readonly remote: Address;
  /** NUD_*; default NUD_PERMANENT. */
  readonly state?: number;
}

/** By what the kernel finds a forwarding entry. */
type FdbKey = Pick<FdbSpec, "interfaceIndex" | "mac">;

/** A forwarding entry as the kernel shows it. */
export interface FdbEntry {
  readonly interfaceIndex: number;
  readonly mac: Mac;
  /** null for entries of a bridge, which lead to a port. */
  readonly remote: Address | null;
  readonly state: number;
  readonly flags: number;
  /** The bridge whose entry it is; null for a device's own entries. */
  readonly masterIndex: number | null;
  readonly vlanId: number | null;
  /** It names a port, a VNI or an interface of its own, instead of the VXLAN device's. */
  readonly isDetour: boolean;
}

/** `ip neighbour replace ADDRESS lladdr MAC dev DEVICE nud permanent` (with CREATE: `ip neighbour add`). */
export function encodeNewNeighbour(spec: NeighbourSpec, flags = REPLACE): Buffer {
  const { address, interfaceIndex, mac, state = NUD_PERMANENT } = spec;
  return ndmsg(RTM_NEWNEIGH, flags, { family: AF_OF[address.family], interfaceIndex, state })
    .attrAddress(NDA_DST, address)
    .attrMac(NDA_LLADDR, mac)
    .finish();
}

/** `ip neighbour del ADDRESS dev DEVICE`; the kernel answers ENOENT when it is absent. */
export function encodeDeleteNeighbour({ interfaceIndex, address }: NeighbourKey): Buffer {
  const header = { family: AF_OF[address.family], interfaceIndex, state: NUD_PERMANENT };
  return ndmsg(RTM_DELNEIGH, 0, header).attrAddress(NDA_DST, address).finish();
}

/** `ip neighbour show [dev DEVICE]`: both families. */
export function encodeNeighbourDump(interfaceIndex = 0): Buffer {
  const message = ndmsg(RTM_GETNEIGH, NLM_F_DUMP, { family: AF_UNSPEC });
  if (interfaceIndex !== 0) message.attrU32(NDA_IFINDEX, interfaceIndex);
  return message.finish();
}

/** `ip neighbour get ADDRESS dev DEVICE`; the kernel answers ENOENT when it has none. Since Linux 5.0. */
export function encodeGetNeighbour({ interfaceIndex, address }: NeighbourKey): Buffer {
  const header = { family: AF_OF[address.family], interfaceIndex };
  return ndmsg(RTM_GETNEIGH, 0, header).attrAddress(NDA_DST, address).finish();
}

/**
 * `bridge fdb replace MAC dev DEVICE dst REMOTE self permanent` (with CREATE: `bridge fdb add`). An entry of a
 * VXLAN device may have several remotes for group addresses only.
 */
export function encodeNewFdb(spec: FdbSpec, flags = REPLACE): Buffer {
  const { interfaceIndex, mac, remote, state = NUD_PERMANENT } = spec;
  return ndmsg(RTM_NEWNEIGH, flags, { family: AF_BRIDGE, interfaceIndex, state, flags: NTF_SELF })
    .attrMac(NDA_LLADDR, mac)
    .attrAddress(NDA_DST, remote)
    .finish();
}

/** `bridge fdb del MAC dev DEVICE [dst REMOTE] self`; the kernel answers ENOENT when it is absent. */
export function encodeDeleteFdb(spec: FdbKey & Partial<FdbSpec>): Buffer {
  const { interfaceIndex, mac, remote, state = NUD_PERMANENT } = spec;
  const header = { family: AF_BRIDGE, interfaceIndex, state, flags: NTF_SELF };
  const message = ndmsg(RTM_DELNEIGH, 0, header).attrMac(NDA_LLADDR, mac);
  if (remote !== undefined) message.attrAddress(NDA_DST, remote);
  return message.finish();
}

/** `bridge fdb append MAC dev DEVICE dst REMOTE self permanent`: a further remote of a group address; one that is there is left. */
export function encodeAppendFdb(spec: FdbSpec): Buffer {
  return encodeNewFdb(spec, NLM_F_CREATE | NLM_F_APPEND);
}

/**
 * `bridge fdb replace MAC dev PORT master static sticky`: the bridge's entry, not the port's. A sticky one stays when
 * a frame with this source enters by another port (net/bridge/br_fdb.c, br_fdb_update).
 */
export function encodeNewBridgeFdb({ interfaceIndex, mac }: FdbKey, flags = REPLACE): Buffer {
  const entry = { state: NUD_NOARP, flags: NTF_MASTER | NTF_STICKY };
  const message = ndmsg(RTM_NEWNEIGH, flags, { family: AF_BRIDGE, interfaceIndex, ...entry });
  return message.attrMac(NDA_LLADDR, mac).finish();
}

/** `bridge fdb del MAC dev PORT master`; the kernel answers ENOENT when it is absent. */
export function encodeDeleteBridgeFdb({ interfaceIndex, mac }: FdbKey): Buffer {
  const header = { family: AF_BRIDGE, interfaceIndex, state: NUD_NOARP, flags: NTF_MASTER };
  return ndmsg(RTM_DELNEIGH, 0, header).attrMac(NDA_LLADDR, mac).finish();
}

/** `bridge fdb show dev DEVICE`: here, unlike for neighbours, the header names the device. */
export function encodeFdbDump(interfaceIndex: number): Buffer {
  return ndmsg(RTM_GETNEIGH, NLM_F_DUMP, { family: AF_BRIDGE, interfaceIndex }).finish();
}

/** `bridge fdb show br BRIDGE`: the entries of all its ports. */
export function encodeBridgeFdbDump(bridgeIndex: number): Buffer {
  return ndmsg(RTM_GETNEIGH, NLM_F_DUMP, { family: AF_BRIDGE }).attrU32(NDA_MASTER, bridgeIndex).finish();
}

/** Decodes RTM_NEWNEIGH and RTM_DELNEIGH of ARP and NDP; null for all others. Throws CodecError. */
export function decodeNeighbour(message: NetlinkMessage): Neighbour | null {
  let address: Address | null = null;
  let mac: Mac | null = null;
  const attributes = message.attributes(NDMSG_BYTES);
  if (familyOf(message.u8(0)) === undefined) return null;
  while (attributes.next()) {
    if (attributes.type === NDA_DST) address = attributes.address();
    else if (attributes.type === NDA_LLADDR) mac = attributes.mac();
  }
  if (address === null) return null;
  return { interfaceIndex: message.i32(4), address, mac, state: message.u16(8), flags: message.u8(10) };
}

/** Decodes RTM_NEWNEIGH and RTM_DELNEIGH of the family AF_BRIDGE; null for all others. Throws CodecError. */
export function decodeFdb(message: NetlinkMessage): FdbEntry | null {
  let mac: Mac | null = null;
  let remote: Address | null = null;
  let masterIndex: number | null = null;
  let vlanId: number | null = null;
  let isDetour = false;
  const attributes = message.attributes(NDMSG_BYTES);
  if (message.u8(0) !== AF_BRIDGE) return null;
  while (attributes.next()) {
    if (attributes.type === NDA_LLADDR) mac = attributes.mac();
    else if (attributes.type === NDA_DST) remote = attributes.address();
    else if (attributes.type === NDA_MASTER) masterIndex = attributes.u32();
    else if (attributes.type === NDA_VLAN) vlanId = attributes.u16();
    else if (DETOURS.has(attributes.type)) isDetour = true;
  }
  if (mac === null) return null;
  const { state, flags } = { state: message.u16(8), flags: message.u8(10) };
  return { interfaceIndex: message.i32(4), mac, remote, state, flags, masterIndex, vlanId, isDetour };
}

/** When the kernel last sent by an entry. */
export interface EntryUse {
  /** Of a neighbour its own, of a forwarding entry the remote host's. */
  readonly address: Address;
  readonly idleMs: number;
}

/** `struct nda_cacheinfo`: two 32-bit words, confirmed and used, in USER_HZ, which is 100 where Node runs. */
const TICK_MS = 10;
const USED_OFFSET = 4;

/** How long ago the kernel last took an answer of this neighbour, in milliseconds; null where it does not tell. */
export function decodeConfirmedAgo(message: NetlinkMessage): number | null {
  const attributes = message.attributes(NDMSG_BYTES);
  while (attributes.next()) if (attributes.type === NDA_CACHEINFO) return attributes.u32() * TICK_MS;
  return null;
}

/** Decodes RTM_NEWNEIGH of both tables; null without an address or a time. Throws CodecError. */
function decodeEntryUse(message: NetlinkMessage): EntryUse | null {
  let address: Address | null = null;
  let idleMs: number | null = null;
  const attributes = message.attributes(NDMSG_BYTES);
  while (attributes.next()) {
    if (attributes.type === NDA_DST) address = attributes.address();
    else if (attributes.type === NDA_CACHEINFO) idleMs = attributes.u32(USED_OFFSET) * TICK_MS;
  }
  return address === null || idleMs === null ? null : { address, idleMs };
}

/** The same for entries that were used at most `recentMs` ago; of others, which may be thousands, nothing is made. */
export function decodeUseWithin(recentMs: number): (message: NetlinkMessage) => EntryUse | null {
  return (message) => {
    const attributes = message.attributes(NDMSG_BYTES);
    while (attributes.next()) {
      if (attributes.type !== NDA_CACHEINFO) continue;
      const idleMs = attributes.u32(USED_OFFSET) * TICK_MS;
      return idleMs <= recentMs ? decodeEntryUse(message) : null;
    }
    return null;
  };
}

/** `struct ndmsg` (linux/neighbour.h); what is absent is 0. */
interface NeighbourHeader {
  /** AF_* */
  readonly family: number;
  readonly interfaceIndex?: number;
  /** NUD_* */
  readonly state?: number;
  /** NTF_* */
  readonly flags?: number;
}

function ndmsg(type: number, messageFlags: number, header: NeighbourHeader): MessageWriter {
  const { family, interfaceIndex = 0, state = 0, flags = 0 } = header;
  return new MessageWriter(type, messageFlags)
    .u8(family)
    .u8(0)
    .u16(0)
    .u32(interfaceIndex)
    .u16(state)
    .u8(flags)
    .u8(0);
}
