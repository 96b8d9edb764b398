/** The kernel's tables of neighbours as a whole (linux/neighbour.h): `ip ntable`. */

import { FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import { type AttributeReader, cut } from "./attribute.ts";
import type { NetlinkConnection } from "./connection.ts";
import { MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import { AF_OF, RTM_GETNEIGHTBL } from "./rtnetlink.ts";

/** linux/neighbour.h */
const NDTMSG_BYTES = 4;
const NDTA_THRESH3 = 4;
const NDTA_CONFIG = 5;
const NDTA_STATS = 7;
/** Offsets in `struct ndt_config` and `struct ndt_stats`. */
const CONFIG_ENTRIES = 4;
const STATS_TABLE_FULLS = 80;

/** One table, of all network namespaces together. */
export interface NeighbourTable {
  readonly entries: number;
  /** gc_thresh3: more entries than this are not made; permanent ones do not count. */
  readonly most: number;
  /** How often one was not made since the kernel started. */
  readonly refusals: bigint;
}

/** Asks for the table of a family: ARP for 4, neighbour discovery for 6. */
export function encodeNeighbourTableDump(family: Family): Buffer {
  return new MessageWriter(RTM_GETNEIGHTBL, NLM_F_DUMP).u8(AF_OF[family]).u8(0).u16(0).finish();
}

/** Decodes RTM_NEWNEIGHTBL; null for the messages about one device, which follow. Throws CodecError. */
export function decodeNeighbourTable(message: NetlinkMessage): NeighbourTable | null {
  const attributes = message.attributes(NDTMSG_BYTES);
  let most: number | null = null;
  let entries: number | null = null;
  let refusals: bigint | null = null;
  while (attributes.next()) {
    if (attributes.type === NDTA_THRESH3) most = attributes.u32();
    else if (attributes.type === NDTA_CONFIG) entries = field(attributes, CONFIG_ENTRIES, 4).readUInt32LE();
    else if (attributes.type === NDTA_STATS)
      refusals = field(attributes, STATS_TABLE_FULLS, 8).readBigUInt64LE();
  }
  return most === null || entries === null || refusals === null ? null : { entries, most, refusals };
}

/** Of both families. Throws NetlinkError. */
export function readNeighbourTables(netlink: NetlinkConnection): readonly NeighbourTable[] {
  return FAMILIES.flatMap((family) => netlink.dump(encodeNeighbourTableDump(family), decodeNeighbourTable));
}

function field(attribute: AttributeReader, offset: number, bytes: number): Buffer {
  if (attribute.length < offset + bytes) throw cut("a table of neighbours", offset);
  return Buffer.from(attribute.bytes().subarray(offset, offset + bytes));
}
