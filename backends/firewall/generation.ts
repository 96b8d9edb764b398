/**
 * Tells whether the kernel's firewall can have changed since another look: so that an audit of a host at rest starts
 * no program. It knows no rules.
 *
 * nftables counts its transactions (`nft monitor` shows the number as "new generation"), those of iptables-nft among
 * them. Legacy iptables counts nothing: where it has a table, nobody can tell.
 */

import { readFileSync } from "node:fs";
import { NetlinkConnection } from "../netlink/connection.ts";
import { NetlinkError } from "../netlink/errors.ts";
import { MessageWriter } from "../netlink/message.ts";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import { NETLINK_NETFILTER } from "../netlink/socket.ts";

/** linux/netfilter/nfnetlink.h: the subsystem stands in the upper byte of a message's type. */
const NFNL_SUBSYS_NFTABLES = 10;
const NFGENMSG_BYTES = 4;
/** linux/netfilter/nf_tables.h */
const NFT_MSG_GETGEN = 16;
const NFTA_GEN_ID = 1;

/** The legacy tables that this namespace has, one name a line. */
const LEGACY_TABLES = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

export class FirewallGeneration {
  readonly #netns: NetnsHandle | undefined;
  #connection: NetlinkConnection | null = null;

  /** `netns`: the namespace to look at; the process's own by default. */
  constructor(netns?: NetnsHandle) {
    this.#netns = netns;
  }

  /** A number that differs after each change of the firewall; null where it cannot be told. */
  read(): number | null {
    if (this.#inside(hasLegacyTables)) return null;
    try {
      this.#connection ??= NetlinkConnection.open({
        protocol: NETLINK_NETFILTER,
        ...(this.#netns === undefined ? {} : { netns: this.#netns }),
      });
      return this.#connection.get(encodeGetGeneration(), (message) => {
        const attributes = message.attributes(NFGENMSG_BYTES);
        while (attributes.next()) if (attributes.type === NFTA_GEN_ID) return attributes.u32();
        return null;
      });
    } catch (error) {
      // A kernel without nftables, or no right to ask: the audits look for themselves.
      if (error instanceof NetlinkError) return null;
      throw error;
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
