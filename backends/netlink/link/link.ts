/** Network devices (linux/if_link.h, linux/rtnetlink.h): `ip link`. Messages only, no I/O. */

import type { Mac } from "../../../ipam/addresses/mac.ts";
import type { AttributeReader } from "../attribute.ts";
import { CREATE, MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "../message.ts";
import {
  AF_BRIDGE,
  AF_INET6,
  AF_UNSPEC,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_SETLINK,
} from "../rtnetlink.ts";
import {
  type Bridge,
  type BridgePort,
  type BridgePortSpec,
  type BridgeSpec,
  decodeBridge,
  decodeBridgePort,
  encodeBridge,
  encodeBridgePort,
} from "./bridge.ts";
import { decodeIpip, encodeIpip, type Ipip, type IpipSpec } from "./ipip.ts";
import { decodeTun, type Tun } from "./tun.ts";
import { decodeVxlan, encodeVxlan, type Vxlan, type VxlanSpec } from "./vxlan.ts";

/** linux/if_link.h */
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
const IFLA_TXQLEN = 13;
const IFLA_OPERSTATE = 16;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_AF_SPEC = 26;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;
const IFLA_TARGET_NETNSID = 46;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
/** linux/if_link.h */
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFINFOMSG_BYTES = 16;

/** linux/veth.h: holds an ifinfomsg and its attributes, like a message of its own. */
const VETH_INFO_PEER = 1;

/** linux/rtnetlink.h: leave the counters out of the answer. */
const RTEXT_FILTER_SKIP_STATS = 8;

/** linux/if.h */
const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;
export const IFF_PROMISC = 0x100;
export const IFF_LOWER_UP = 0x10000;

/** A virtual Ethernet pair; the peer may be born in another namespace, but never UP there (ENOTCONN). */
export interface VethSpec {
  readonly kind: "veth";
  readonly peer: LinkChanges;
}

/** Kinds that are made without attributes of their own. */
export interface PlainSpec {
  readonly kind: "dummy" | "ifb" | "wireguard";
}

export type LinkInfoSpec = VxlanSpec | IpipSpec | BridgeSpec | VethSpec | PlainSpec;

/** What can be given to a new device, and changed on an old one. */
export interface LinkChanges {
  readonly name?: string;
  readonly mac?: Mac;
  readonly mtuBytes?: number;
  readonly isUp?: boolean;
  readonly isPromiscuous?: boolean;
  /** Index of the bridge it is a port of; 0 takes it out. */
  readonly masterIndex?: number;
  /** Descriptor of the namespace to move it to (NetnsHandle.fd). */
  readonly netnsFd?: number;
  readonly txQueueLength?: number;
  readonly alias?: string;
  /** The kernel gives it no IPv6 link-local address when it comes up. On a device that exists. */
  readonly hasNoLinkLocal?: true;
  /** Attributes of its kind; the kind decides which of them can change on an existing device. */
  readonly info?: LinkInfoSpec;
}

export interface LinkSpec extends LinkChanges {
  readonly name: string;
  readonly info: LinkInfoSpec;
}

/**
 * A device by its index (cheap and safe against renaming) or by its name. `netnsId`: in another namespace, by the id
 * that ours has for it.
 */
export type LinkSelector = ({ readonly index: number } | { readonly name: string }) & {
  readonly netnsId?: number;
};

/** A device as the kernel shows it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `vxlan`, `bridge`, `veth`, `tun` or any other kind the kernel names; empty for physical devices. */
  readonly type: string;
  readonly mac: Mac | null;
  readonly mtuBytes: number;
  /** IFF_* */
  readonly flags: number;
  readonly isUp: boolean;
  /** IF_OPER_*: 2 down, 6 up, 0 unknown. */
  readonly operState: number;
  readonly masterIndex: number | null;
  /** The device it is stacked on, or a veth's peer: an index in the namespace `linkNetnsId` if that is set. */
  readonly linkIndex: number | null;
  readonly linkNetnsId: number | null;
  readonly alias: string;
  readonly vxlan?: Vxlan;
  readonly ipip?: Ipip;
  readonly bridge?: Bridge;
  readonly tun?: Tun;
  /** Present for ports of a bridge. */
  readonly bridgePort?: BridgePort;
}

/** `ip link add NAME [address MAC] [mtu N] [master BRIDGE] [up] type KIND …` */
export function encodeNewLink(spec: LinkSpec, flags = CREATE): Buffer {
  const message = ifinfomsg(RTM_NEWLINK, flags, AF_UNSPEC, 0, spec);
  writeChanges(message, spec);
  return message.finish();
}

/** `ip link set DEVICE [up|down] [mtu N] [address MAC] [name NAME] [master BRIDGE|nomaster] [type KIND …] …` */
export function encodeSetLink(index: number, changes: LinkChanges): Buffer {
  const message = ifinfomsg(RTM_NEWLINK, 0, AF_UNSPEC, index, changes);
  writeChanges(message, changes);
  return message.finish();
}

/** `bridge link set dev PORT [hairpin on|off] [isolated on|off] [learning on|off] …` */
export function encodeSetBridgePort(index: number, port: BridgePortSpec): Buffer {
  const message = ifinfomsg(RTM_SETLINK, 0, AF_BRIDGE, index, {});
  return message.nestedStrict(IFLA_PROTINFO, () => encodeBridgePort(message, port)).finish();
}

/** `ip link del DEVICE`; the kernel answers ENODEV when it is absent. It takes about 18 ms: see requestAsync. */
export function encodeDeleteLink(selector: LinkSelector): Buffer {
  return select(RTM_DELLINK, selector).finish();
}

/** `ip link show DEVICE`; the kernel answers ENODEV when it is absent. */
export function encodeGetLink(selector: LinkSelector): Buffer {
  return select(RTM_GETLINK, selector).attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS).finish();
}

/** `ip link show [type KIND] [master BRIDGE]`, in another namespace if `netnsId` says so. */
export function encodeLinkDump(
  filter: { readonly type?: string; readonly masterIndex?: number; readonly netnsId?: number } = {},
): Buffer {
  const message = ifinfomsg(RTM_GETLINK, NLM_F_DUMP, AF_UNSPEC, 0, {});
  message.attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  const { type, masterIndex, netnsId } = filter;
  if (netnsId !== undefined) message.attrI32(IFLA_TARGET_NETNSID, netnsId);
  if (masterIndex !== undefined) message.attrU32(IFLA_MASTER, masterIndex);
  if (type !== undefined) {
    message.nested(IFLA_LINKINFO, () => message.attrBytes(IFLA_INFO_KIND, Buffer.from(type)));
  }
  return message.finish();
}

/**
 * Decodes RTM_NEWLINK and RTM_DELLINK; null for a bridge's notices about its ports (AF_BRIDGE), of which a
 * RTM_DELLINK says only that the port left the bridge. Throws CodecError.
 */
export function decodeLink(message: NetlinkMessage): Link | null {
  const flags = message.u32(8);
  const attributes = message.attributes(IFINFOMSG_BYTES);
  if (message.u8(0) !== AF_UNSPEC) return null;
  const link: Draft = {
    index: message.i32(4),
    name: "",
    type: "",
    mac: null,
    mtuBytes: 0,
    flags,
    isUp: (flags & IFF_UP) !== 0,
    operState: 0,
    masterIndex: null,
    linkIndex: null,
    linkNetnsId: null,
    alias: "",
  };
  while (attributes.next()) readAttribute(link, attributes);
  return link;
}

/** What a bridge tells of one of its ports. */
export interface BridgePortNotice {
  readonly index: number;
  readonly bridgePort: BridgePort;
}

/** Decodes a bridge's notice about the settings of a port (RTM_NEWLINK of AF_BRIDGE); null for all else. Throws CodecError. */
export function decodeBridgePortNotice(message: NetlinkMessage): BridgePortNotice | null {
  const attributes = message.attributes(IFINFOMSG_BYTES);
  if (message.type !== RTM_NEWLINK || message.u8(0) !== AF_BRIDGE) return null;
  let bridgePort: BridgePort | null = null;
  while (attributes.next()) {
    if (attributes.type === IFLA_PROTINFO) bridgePort = decodeBridgePort(attributes.nested());
  }
  return bridgePort === null ? null : { index: message.i32(4), bridgePort };
}

type Draft = { -readonly [K in keyof Link]: Link[K] };

function readAttribute(link: Draft, attributes: AttributeReader): void {
  switch (attributes.type) {
    case IFLA_IFNAME:
      link.name = attributes.string();
      break;
    case IFLA_ADDRESS:
      link.mac = attributes.mac();
      break;
    case IFLA_MTU:
      link.mtuBytes = attributes.u32();
      break;
    case IFLA_OPERSTATE:
      link.operState = attributes.u8();
      break;
    case IFLA_MASTER:
      link.masterIndex = attributes.u32();
      break;
    case IFLA_LINK:
      link.linkIndex = attributes.u32() || null;
      break;
    case IFLA_LINK_NETNSID:
      link.linkNetnsId = attributes.i32();
      break;
    case IFLA_IFALIAS:
      link.alias = attributes.string();
      break;
    case IFLA_LINKINFO:
      readInfo(link, attributes.nested());
      break;
  }
}

/** The kernel puts each kind before its data. */
function readInfo(link: Draft, info: AttributeReader): void {
  let slaveKind = "";
  while (info.next()) {
    if (info.type === IFLA_INFO_KIND) link.type = info.string();
    else if (info.type === IFLA_INFO_SLAVE_KIND) slaveKind = info.string();
    else if (info.type === IFLA_INFO_DATA) Object.assign(link, INFO_DECODERS.get(link.type)?.(info.nested()));
    else if (info.type === IFLA_INFO_SLAVE_DATA && slaveKind === "bridge") {
      link.bridgePort = decodeBridgePort(info.nested());
    }
  }
}

type InfoDecoder = (data: AttributeReader) => Pick<Link, "vxlan" | "ipip" | "bridge" | "tun">;

const INFO_DECODERS: ReadonlyMap<string, InfoDecoder> = new Map<string, InfoDecoder>([
  ["vxlan", (data) => ({ vxlan: decodeVxlan(data) })],
  ["ipip", (data) => ({ ipip: decodeIpip(data) })],
  ["bridge", (data) => ({ bridge: decodeBridge(data) })],
  ["tun", (data) => ({ tun: decodeTun(data) })],
]);

function writeInfo(message: MessageWriter, info: LinkInfoSpec): void {
  switch (info.kind) {
    case "vxlan":
      message.nested(IFLA_INFO_DATA, () => encodeVxlan(message, info));
      break;
    case "ipip":
      message.nested(IFLA_INFO_DATA, () => encodeIpip(message, info));
      break;
    case "bridge":
      message.nested(IFLA_INFO_DATA, () => encodeBridge(message, info));
      break;
    case "veth":
      message.nested(IFLA_INFO_DATA, () => {
        message.nested(VETH_INFO_PEER, () => {
          writeIfinfomsg(message, AF_UNSPEC, 0, info.peer);
          writeChanges(message, info.peer);
        });
      });
      break;
  }
}

function writeChanges(message: MessageWriter, changes: LinkChanges): void {
  if (changes.name !== undefined) message.attrString(IFLA_IFNAME, changes.name);
  if (changes.mac !== undefined) message.attrMac(IFLA_ADDRESS, changes.mac);
  if (changes.mtuBytes !== undefined) message.attrU32(IFLA_MTU, changes.mtuBytes);
  if (changes.txQueueLength !== undefined) message.attrU32(IFLA_TXQLEN, changes.txQueueLength);
  if (changes.masterIndex !== undefined) message.attrU32(IFLA_MASTER, changes.masterIndex);
  if (changes.alias !== undefined) message.attrString(IFLA_IFALIAS, changes.alias);
  if (changes.netnsFd !== undefined) message.attrU32(IFLA_NET_NS_FD, changes.netnsFd);
  if (changes.hasNoLinkLocal) {
    message.nested(IFLA_AF_SPEC, () =>
      message.nested(AF_INET6, () => message.attrU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)),
    );
  }
  const { info } = changes;
  if (info === undefined) return;
  message.nested(IFLA_LINKINFO, () => {
    message.attrBytes(IFLA_INFO_KIND, Buffer.from(info.kind));
    writeInfo(message, info);
  });
}

function select(type: number, selector: LinkSelector): MessageWriter {
  const index = "index" in selector ? selector.index : 0;
  const message = ifinfomsg(type, 0, AF_UNSPEC, index, {});
  if ("name" in selector) message.attrString(IFLA_IFNAME, selector.name);
  if (selector.netnsId !== undefined) message.attrI32(IFLA_TARGET_NETNSID, selector.netnsId);
  return message;
}

function ifinfomsg(
  type: number,
  messageFlags: number,
  family: number,
  index: number,
  changes: LinkChanges,
): MessageWriter {
  const message = new MessageWriter(type, messageFlags, 256);
  writeIfinfomsg(message, family, index, changes);
  return message;
}

/** `struct ifinfomsg`: family, padding, device type, index, flags, and which of the flags to change. */
function writeIfinfomsg(message: MessageWriter, family: number, index: number, changes: LinkChanges): void {
  let flags = 0;
  let changed = 0;
  if (changes.isUp !== undefined) changed |= IFF_UP;
  if (changes.isPromiscuous !== undefined) changed |= IFF_PROMISC;
  if (changes.isUp) flags |= IFF_UP;
  if (changes.isPromiscuous) flags |= IFF_PROMISC;
  message.u8(family).u8(0).u16(0).u32(index).u32(flags).u32(changed);
}
