/**
 * Tells whether the kernel's firewall may have changed since an earlier read, so that an audit of an unchanged host
 * starts no program. It reads no rules.
 *
 * nftables counts its transactions (`nft monitor` shows the number as "new generation"), including those of
 * iptables-nft. Legacy iptables has no counter: where it has a table, the answer is unknown.
 */

import { readFileSync } from "node:fs";
import { NetlinkConnection } from "../netlink/connection.ts";
import { MessageWriter } from "../netlink/message.ts";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import { NETLINK_NETFILTER } from "../netlink/socket.ts";

/** linux/netfilter/nfnetlink.h: the subsystem is the upper byte of a message's type. */
const NFNL_SUBSYS_NFTABLES = 10;
const NFGENMSG_BYTES = 4;
/** linux/netfilter/nf_tables.h */
const NFT_MSG_GETGEN = 16;
const NFTA_GEN_ID = 1;

/** The legacy tables of this namespace, one name per line. */
const LEGACY_TABLES = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

export class FirewallGeneration {
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
  read(): number | null {
    try {
      if (this.#inside(hasLegacyTables)) return null;
      this.#connection ??= NetlinkConnection.open({
        protocol: NETLINK_NETFILTER,
        ...(this.#netns === undefined ? {} : { netns: this.#netns }),
      });
      return this.#connection.get(encodeGetGeneration(), (message) => {
        const attributes = message.attributes(NFGENMSG_BYTES);
        while (attributes.next()) if (attributes.type === NFTA_GEN_ID) return attributes.u32();
        return null;
      });
    } catch {
      this.close();
      return null;
    }
  }

  close(): void {
    this.#connection?.close();
    this.#connection = null;
  }

  #inside<T>(body: () => T): T {
    return this.#netns === undefined ? body() : withNetns(this.#netns, body);
  }
}

/** `struct nfgenmsg`: family, version, resource id. */
function encodeGetGeneration(): Buffer {
  return new MessageWriter((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, 0).u8(0).u8(0).u16(0).finish();
}

function hasLegacyTables(): boolean {
  return LEGACY_TABLES.some((path) => {
    try {
      return readFileSync(path, "utf8") !== "";
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
      throw error;
    }
  });
}
