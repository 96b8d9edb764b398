/** Policy rules (linux/fib_rules.h): `ip rule`. Messages only, no I/O. */

import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import { AF_OF, familyOf } from "./rtnetlink.ts";

/** linux/rtnetlink.h */
const RTM_GETRULE = 34;

/** linux/fib_rules.h */
const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_SUPPRESS_IFGROUP = 13;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
/**
 * Selectors and conditions that are not decoded: tunnel id, suppressed interface group and prefix length, l3mdev, user
 * ids, IP protocol, ports.
 */
const OTHERS: ReadonlySet<number> = new Set([12, 13, 14, 19, 20, 22, 23, 24]);
/** A suppressor that suppresses nothing, which the kernel shows for every rule. */
const NOTHING = 0xffffffff;
const FIB_RULE_INVERT = 2;
const FIB_RULE_HEADER_BYTES = 12;

/** FR_ACT_*: look the destination up in a table, or answer in its place. */
export const FR_ACT_TO_TBL = 1;
export const FR_ACT_BLACKHOLE = 6;
export const FR_ACT_UNREACHABLE = 7;
export const FR_ACT_PROHIBIT = 8;

/** A rule as the kernel shows it. */
export interface Rule {
  readonly family: Family;
  readonly priority: number;
  /** FR_ACT_* */
  readonly action: number;
  readonly table: number;
  /** Null matches every address. */
  readonly source: Prefix | null;
  readonly destination: Prefix | null;
  /** Empty matches every interface. */
  readonly inputInterface: string;
  readonly outputInterface: string;
  /** 0 with mask 0 matches every packet. */
  readonly mark: number;
  readonly markMask: number;
  /** It has selectors or conditions that are not decoded, which make it match less. */
  readonly hasOthers: boolean;
  /** `not`: applies to what its selectors do not match. */
  readonly isInverted: boolean;
}

/** `ip -4|-6 rule show` */
export function encodeRuleDump(family: Family): Buffer {
  const message = new MessageWriter(RTM_GETRULE, NLM_F_DUMP).u8(AF_OF[family]).u8(0).u8(0).u8(0);
  return message.u8(0).u8(0).u8(0).u8(0).u32(0).finish();
}

/** Decodes RTM_NEWRULE; null for families other than IPv4 and IPv6. Throws CodecError. */
export function decodeRule(message: NetlinkMessage): Rule | null {
  const attributes = message.attributes(FIB_RULE_HEADER_BYTES);
  const family = familyOf(message.u8(0));
  if (family === undefined) return null;
  const [destinationLength, sourceLength] = [message.u8(1), message.u8(2)];
  let table = message.u8(4);
  let priority = 0;
  let mark = 0;
  let markMask = 0;
  let source: Address | null = null;
  let destination: Address | null = null;
  let inputInterface = "";
  let outputInterface = "";
  let hasOthers = message.u8(3) !== 0; // TOS
  while (attributes.next()) {
    if (attributes.type === FRA_DST) destination = attributes.address();
    else if (attributes.type === FRA_SRC) source = attributes.address();
    else if (attributes.type === FRA_IIFNAME) inputInterface = attributes.string();
    else if (attributes.type === FRA_OIFNAME) outputInterface = attributes.string();
    else if (attributes.type === FRA_PRIORITY) priority = attributes.u32();
    else if (attributes.type === FRA_FWMARK) mark = attributes.u32();
    else if (attributes.type === FRA_FWMASK) markMask = attributes.u32();
    else if (attributes.type === FRA_TABLE) table = attributes.u32();
    else if (OTHERS.has(attributes.type))
      hasOthers ||= !isSuppressor(attributes.type) || attributes.u32() !== NOTHING;
  }
  return {
    family,
    priority,
    action: message.u8(7),
    table,
    source: selector(family, source, sourceLength),
    destination: selector(family, destination, destinationLength),
    inputInterface,
    outputInterface,
    mark,
    markMask,
    hasOthers,
    isInverted: (message.u32(8) & FIB_RULE_INVERT) !== 0,
  };
}

function isSuppressor(type: number): boolean {
  return type === FRA_SUPPRESS_IFGROUP || type === FRA_SUPPRESS_PREFIXLEN;
}

/** The kernel leaves out an address of zeros, also where its length counts. */
function selector(family: Family, address: Address | null, length: number): Prefix | null {
  return length === 0 ? null : Prefix.of(address ?? Address.of(family, 0n), length);
}
