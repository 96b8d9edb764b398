/**
 * What the kernel tells of its firewall without a program: which tables there are, and whether anything may have changed
 * since an earlier read. It reads no rules.
 *
 * nftables counts its transactions (`nft monitor` shows the number as "new generation"), including those of
 * iptables-nft. Legacy iptables has no counter: where it has a table, the answer is unknown.
 */

import { readFileSync } from "node:fs";
import { FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import { MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "../netlink/message.ts";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import { NETLINK_NETFILTER } from "../netlink/socket.ts";

/** linux/netfilter/nfnetlink.h: the subsystem is the upper byte of a message's type. */
const NFNL_SUBSYS_NFTABLES = 10;
const NFGENMSG_BYTES = 4;
/** linux/netfilter/nf_tables.h */
const NFT_MSG_GETTABLE = 1;
export const NFT_MSG_NEWGEN = 15;
const NFT_MSG_GETGEN = 16;
const NFTA_GEN_ID = 1;
/** NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and those of all other objects have the same number. */
const NFTA_TABLE_NAME = 1;

/** NFPROTO_* in linux/netfilter.h, as nft spells them. */
const TABLE_FAMILIES = new Map([
  [1, "inet"],
  [2, "ip"],
  [3, "arp"],
  [5, "netdev"],
  [7, "bridge"],
  [10, "ip6"],
]);

/** The legacy tables of this namespace, one name per line. */
const LEGACY_TABLES: Readonly<Record<Family, string>> = {
  4: "/proc/thread-self/net/ip_tables_names",
  6: "/proc/thread-self/net/ip6_tables_names",
};

export interface TableNames {
  /** Tables of nftables, as `ip filter`; iptables-nft keeps its tables there. */
  readonly nft: ReadonlySet<string>;
  /** Families that legacy iptables has a table of. */
  readonly legacy: ReadonlySet<Family>;
}

export class KernelFacts {
  readonly #netns: NetnsHandle | undefined;
  #connection: NetlinkConnection | null = null;

  /** `netns`: the namespace to read; the process's own by default. */
  constructor(netns?: NetnsHandle) {
    this.#netns = netns;
  }

  /**
   * A number that differs after each change of the firewall; null when unknown, after which a caller compares the rules.
   * Never throws: what prevents reading, such as EMFILE, also prevents the comparison, which reports it.
   */
  generation(): number | null {
    return this.#read((connection) => {
      if (this.#legacyFamilies().size > 0) return null;
      return connection.get(encode(NFT_MSG_GETGEN, 0), (message) => {
        const attributes = message.attributes(NFGENMSG_BYTES);
        while (attributes.next()) if (attributes.type === NFTA_GEN_ID) return attributes.u32();
        return null;
      });
    });
  }

  /** All tables; null when unknown. Never throws. */
  tables(): TableNames | null {
    return this.#read((connection) => ({
      nft: new Set(connection.dump(encode(NFT_MSG_GETTABLE, NLM_F_DUMP), tableIn)),
      legacy: this.#legacyFamilies(),
    }));
  }

  close(): void {
    this.#connection?.close();
    this.#connection = null;
  }

  #read<T>(read: (connection: NetlinkConnection) => T): T | null {
    try {
      this.#connection ??= NetlinkConnection.open({
        protocol: NETLINK_NETFILTER,
        ...(this.#netns === undefined ? {} : { netns: this.#netns }),
      });
      return read(this.#connection);
    } catch {
      this.close();
      return null;
    }
  }

  #legacyFamilies(): ReadonlySet<Family> {
    const read = (): Family[] => FAMILIES.filter((family) => hasNames(LEGACY_TABLES[family]));
    return new Set(this.#netns === undefined ? read() : withNetns(this.#netns, read));
  }
}

/** The table that a message of nftables is about, as `ip filter`; null for one that is about none. */
export function tableIn(message: NetlinkMessage): string | null {
  const family = TABLE_FAMILIES.get(message.u8(0));
  if (family === undefined || message.type === typeOf(NFT_MSG_NEWGEN)) return null;
  const attributes = message.attributes(NFGENMSG_BYTES);
  while (attributes.next())
    if (attributes.type === NFTA_TABLE_NAME) return `${family} ${attributes.string()}`;
  return null;
}

/** The type of a message of nftables. */
export function typeOf(message: number): number {
  return (NFNL_SUBSYS_NFTABLES << 8) | message;
}

/** `struct nfgenmsg`: family, version, resource id. */
function encode(message: number, flags: number): Buffer {
  return new MessageWriter(typeOf(message), flags).u8(0).u8(0).u16(0).finish();
}

function hasNames(path: string): boolean {
  try {
    return readFileSync(path, "utf8") !== "";
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
