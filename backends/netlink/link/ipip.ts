/** IPv4-in-IPv4 tunnel devices (linux/if_tunnel.h IFLA_IPTUN_*): `ip link … type ipip`. Messages only, no I/O. */

import { Address } from "../../../ipam/addresses/ip.ts";
import type { AttributeReader } from "../attribute.ts";
import type { MessageWriter } from "../message.ts";

/** linux/if_tunnel.h */
const IFLA_IPTUN_LINK = 1;
const IFLA_IPTUN_LOCAL = 2;
const IFLA_IPTUN_REMOTE = 3;
const IFLA_IPTUN_TTL = 4;
const IFLA_IPTUN_TOS = 5;
const IFLA_IPTUN_PROTO = 9;
const IFLA_IPTUN_PMTUDISC = 10;
const IFLA_IPTUN_ENCAP_TYPE = 15;
const IFLA_IPTUN_COLLECT_METADATA = 19;
const IFLA_IPTUN_FWMARK = 20;

/** linux/in.h; 0 stands for any payload that the driver knows. */
const IPPROTO_IPIP = 4;

/** What is off on a device as flannel and tulle make it, in ip-link(8)'s words. */
const OPTIONS: ReadonlyMap<number, string> = new Map([
  [IFLA_IPTUN_LINK, "dev"],
  [IFLA_IPTUN_TTL, "ttl"],
  [IFLA_IPTUN_TOS, "tos"],
  [IFLA_IPTUN_ENCAP_TYPE, "encap"],
  [IFLA_IPTUN_COLLECT_METADATA, "external"],
  [IFLA_IPTUN_FWMARK, "fwmark"],
]);

export interface IpipSpec {
  readonly kind: "ipip";
  /** Source address of tunnel packets. */
  readonly local?: Address;
  /** The one destination; any when absent. */
  readonly remote?: Address;
  /** Whether tunnel packets always carry DF; the kernel's default is yes. Without, they carry that of the packet inside. */
  readonly pathMtuDiscovery?: boolean;
  /** Protocol of the packets inside (IPPROTO_*). */
  readonly protocol?: number;
}

/** An IPIP device as the kernel shows it. */
export interface Ipip {
  readonly local: Address | null;
  readonly remote: Address | null;
  readonly pathMtuDiscovery: boolean;
  readonly protocol: number;
  /** Which of the options are on that a plain tunnel has not, in ip-link(8)'s words. */
  readonly options: readonly string[];
}

/** `type ipip [local ADDRESS] [remote ADDRESS] [nopmtudisc] …` */
export function encodeIpip(message: MessageWriter, spec: IpipSpec): void {
  if (spec.local !== undefined) message.attrAddress(IFLA_IPTUN_LOCAL, spec.local);
  if (spec.remote !== undefined) message.attrAddress(IFLA_IPTUN_REMOTE, spec.remote);
  if (spec.pathMtuDiscovery !== undefined) message.attrBool(IFLA_IPTUN_PMTUDISC, spec.pathMtuDiscovery);
  if (spec.protocol !== undefined) message.attrU8(IFLA_IPTUN_PROTO, spec.protocol);
}

/** Decodes IFLA_INFO_DATA of an IPIP device. Throws CodecError. */
export function decodeIpip(attributes: AttributeReader): Ipip {
  const options: string[] = [];
  const ipip: { -readonly [K in keyof Ipip]: Ipip[K] } = {
    local: null,
    remote: null,
    pathMtuDiscovery: false,
    protocol: 0,
    options,
  };
  while (attributes.next()) {
    const option = OPTIONS.get(attributes.type);
    if (option !== undefined && isOn(attributes)) options.push(option);
    switch (attributes.type) {
      case IFLA_IPTUN_LOCAL:
        ipip.local = addressOrAny(attributes);
        break;
      case IFLA_IPTUN_REMOTE:
        ipip.remote = addressOrAny(attributes);
        break;
      case IFLA_IPTUN_PMTUDISC:
        ipip.pathMtuDiscovery = attributes.bool();
        break;
      case IFLA_IPTUN_PROTO:
        ipip.protocol = attributes.u8();
        break;
    }
  }
  if (ipip.protocol !== 0 && ipip.protocol !== IPPROTO_IPIP) options.push("mode");
  return ipip;
}

/** The kernel writes 0.0.0.0 for "any". */
function addressOrAny(attribute: AttributeReader): Address | null {
  const address = attribute.address();
  return address.equals(Address.of(address.family, 0n)) ? null : address;
}

/** A flag is on by being there, a number by not being 0. */
function isOn(attribute: AttributeReader): boolean {
  return attribute.length === 0 || attribute.bytes().some((byte) => byte !== 0);
}
