/** VXLAN devices (linux/if_link.h IFLA_VXLAN_*): `ip link … type vxlan`. Messages only, no I/O. */

import type { Address } from "../../../ipam/addresses/ip.ts";
import type { AttributeReader } from "../attribute.ts";
import type { MessageWriter } from "../message.ts";

/** linux/if_link.h */
const IFLA_VXLAN_ID = 1;
const IFLA_VXLAN_GROUP = 2;
const IFLA_VXLAN_LINK = 3;
const IFLA_VXLAN_LOCAL = 4;
const IFLA_VXLAN_TTL = 5;
const IFLA_VXLAN_TOS = 6;
const IFLA_VXLAN_LEARNING = 7;
const IFLA_VXLAN_AGEING = 8;
const IFLA_VXLAN_LIMIT = 9;
const IFLA_VXLAN_PROXY = 11;
const IFLA_VXLAN_RSC = 12;
const IFLA_VXLAN_L2MISS = 13;
const IFLA_VXLAN_L3MISS = 14;
const IFLA_VXLAN_PORT = 15;
const IFLA_VXLAN_GROUP6 = 16;
const IFLA_VXLAN_LOCAL6 = 17;
const IFLA_VXLAN_UDP_CSUM = 18;
const IFLA_VXLAN_UDP_ZERO_CSUM6_TX = 19;
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX = 20;
const IFLA_VXLAN_REMCSUM_TX = 21;
const IFLA_VXLAN_REMCSUM_RX = 22;
const IFLA_VXLAN_GBP = 23;
const IFLA_VXLAN_REMCSUM_NOPARTIAL = 24;
const IFLA_VXLAN_COLLECT_METADATA = 25;
const IFLA_VXLAN_LABEL = 26;
const IFLA_VXLAN_GPE = 27;
const IFLA_VXLAN_TTL_INHERIT = 28;
const IFLA_VXLAN_DF = 29;
const IFLA_VXLAN_VNIFILTER = 30;

/** What is off on a device as flannel and tulle make it, in ip-link(8)'s words. */
const OPTIONS: ReadonlyMap<number, string> = new Map([
  [IFLA_VXLAN_GROUP, "group"],
  [IFLA_VXLAN_TTL, "ttl"],
  [IFLA_VXLAN_TOS, "tos"],
  [IFLA_VXLAN_LIMIT, "maxaddress"],
  [IFLA_VXLAN_PROXY, "proxy"],
  [IFLA_VXLAN_RSC, "rsc"],
  [IFLA_VXLAN_L2MISS, "l2miss"],
  [IFLA_VXLAN_L3MISS, "l3miss"],
  [IFLA_VXLAN_GROUP6, "group"],
  [IFLA_VXLAN_REMCSUM_TX, "remcsumtx"],
  [IFLA_VXLAN_REMCSUM_RX, "remcsumrx"],
  [IFLA_VXLAN_REMCSUM_NOPARTIAL, "remcsum nopartial"],
  [IFLA_VXLAN_COLLECT_METADATA, "external"],
  [IFLA_VXLAN_LABEL, "flowlabel"],
  [IFLA_VXLAN_GPE, "gpe"],
  [IFLA_VXLAN_TTL_INHERIT, "ttl inherit"],
  [IFLA_VXLAN_DF, "df"],
  [IFLA_VXLAN_VNIFILTER, "vnifilter"],
]);

const LOCAL_OF = { 4: IFLA_VXLAN_LOCAL, 6: IFLA_VXLAN_LOCAL6 } as const;

export interface VxlanSpec {
  readonly kind: "vxlan";
  /** 0 .. 2^24 - 1. */
  readonly vni: number;
  /** Source address of tunnel packets. */
  readonly local?: Address;
  /** Index of the interface that carries the tunnel. */
  readonly parentIndex?: number;
  /** UDP destination port; the kernel's own default is 8472. */
  readonly port?: number;
  /** Default true, the kernel's. */
  readonly learning?: boolean;
  /** Group-based policy extension; default false. */
  readonly gbp?: boolean;
  /** 0 inherits or takes the system's default. */
  readonly ttl?: number;
  readonly tos?: number;
  readonly ageingSeconds?: number;
  /** UDP checksums over IPv4. */
  readonly udpChecksum?: boolean;
  readonly udpZeroChecksum6Send?: boolean;
  readonly udpZeroChecksum6Receive?: boolean;
}

/** A VXLAN device as the kernel shows it. */
export interface Vxlan {
  readonly vni: number;
  readonly local: Address | null;
  /** Multicast group or default remote. */
  readonly group: Address | null;
  readonly parentIndex: number | null;
  readonly port: number;
  readonly learning: boolean;
  readonly gbp: boolean;
  readonly ttl: number;
  readonly tos: number;
  readonly udpChecksum: boolean;
  readonly udpZeroChecksum6Send: boolean;
  readonly udpZeroChecksum6Receive: boolean;
  /** Which of the options are on that a plain tunnel has not, in ip-link(8)'s words. */
  readonly options: readonly string[];
}

/** What a device that exists lets change without a break (drivers/net/vxlan, vxlan_nl2conf). */
export type VxlanChanges = Pick<VxlanSpec, "kind" | "vni" | "local" | "parentIndex" | "learning">;

/** `type vxlan id VNI [local ADDRESS] [dev PARENT] [dstport PORT] [nolearning] [gbp] …` */
export function encodeVxlan(message: MessageWriter, spec: VxlanSpec): void {
  message.attrU32(IFLA_VXLAN_ID, spec.vni);
  if (spec.local !== undefined) message.attrAddress(LOCAL_OF[spec.local.family], spec.local);
  if (spec.parentIndex !== undefined) message.attrU32(IFLA_VXLAN_LINK, spec.parentIndex);
  if (spec.ttl !== undefined) message.attrU8(IFLA_VXLAN_TTL, spec.ttl);
  if (spec.tos !== undefined) message.attrU8(IFLA_VXLAN_TOS, spec.tos);
  if (spec.learning !== undefined) message.attrBool(IFLA_VXLAN_LEARNING, spec.learning);
  if (spec.ageingSeconds !== undefined) message.attrU32(IFLA_VXLAN_AGEING, spec.ageingSeconds);
  if (spec.port !== undefined) message.attrU16be(IFLA_VXLAN_PORT, spec.port);
  if (spec.udpChecksum !== undefined) message.attrBool(IFLA_VXLAN_UDP_CSUM, spec.udpChecksum);
  if (spec.udpZeroChecksum6Send !== undefined) {
    message.attrBool(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, spec.udpZeroChecksum6Send);
  }
  if (spec.udpZeroChecksum6Receive !== undefined) {
    message.attrBool(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, spec.udpZeroChecksum6Receive);
  }
  if (spec.gbp) message.attrFlag(IFLA_VXLAN_GBP);
}

/** Decodes IFLA_INFO_DATA of a VXLAN device. Throws CodecError. */
export function decodeVxlan(attributes: AttributeReader): Vxlan {
  const options: string[] = [];
  const vxlan: { -readonly [K in keyof Vxlan]: Vxlan[K] } = {
    vni: 0,
    local: null,
    group: null,
    parentIndex: null,
    port: 0,
    learning: false,
    gbp: false,
    ttl: 0,
    tos: 0,
    udpChecksum: false,
    udpZeroChecksum6Send: false,
    udpZeroChecksum6Receive: false,
    options,
  };
  while (attributes.next()) {
    const option = OPTIONS.get(attributes.type);
    if (option !== undefined && isOn(attributes)) options.push(option);
    switch (attributes.type) {
      case IFLA_VXLAN_ID:
        vxlan.vni = attributes.u32();
        break;
      case IFLA_VXLAN_LOCAL:
      case IFLA_VXLAN_LOCAL6:
        vxlan.local = attributes.address();
        break;
      case IFLA_VXLAN_GROUP:
      case IFLA_VXLAN_GROUP6:
        vxlan.group = attributes.address();
        break;
      case IFLA_VXLAN_LINK:
        vxlan.parentIndex = attributes.u32() || null;
        break;
      case IFLA_VXLAN_PORT:
        vxlan.port = attributes.u16be();
        break;
      case IFLA_VXLAN_LEARNING:
        vxlan.learning = attributes.bool();
        break;
      case IFLA_VXLAN_GBP:
        vxlan.gbp = true;
        break;
      case IFLA_VXLAN_TTL:
        vxlan.ttl = attributes.u8();
        break;
      case IFLA_VXLAN_TOS:
        vxlan.tos = attributes.u8();
        break;
      case IFLA_VXLAN_UDP_CSUM:
        vxlan.udpChecksum = attributes.bool();
        break;
      case IFLA_VXLAN_UDP_ZERO_CSUM6_TX:
        vxlan.udpZeroChecksum6Send = attributes.bool();
        break;
      case IFLA_VXLAN_UDP_ZERO_CSUM6_RX:
        vxlan.udpZeroChecksum6Receive = attributes.bool();
        break;
    }
  }
  return vxlan;
}

/** A flag is on by being there, a number by not being 0. */
function isOn(attribute: AttributeReader): boolean {
  return attribute.length === 0 || attribute.bytes().some((byte) => byte !== 0);
}
