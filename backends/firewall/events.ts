/**
 * Watches for changes of nftables, including those of iptables-nft. Legacy iptables reports none: only audits find them.
 *
 * Reports only that something may have changed, whether it is likely to concern us, and which program changed it; the
 * next pass finds what.
 */

import type { NetlinkMessage } from "../netlink/message.ts";
import { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import { NETLINK_NETFILTER } from "../netlink/socket.ts";
import { NFT_MSG_NEWGEN, tableIn, typeOf } from "./kernel-facts.ts";

/** linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;
const NFGENMSG_BYTES = 4;

/** linux/netfilter/nf_tables.h: of the message that ends the notifications of a transaction. */
const NFTA_GEN_PROC_NAME = 3;

/**
 * Names in notifications of our own objects, and of chains where foreign changes can keep packets from us: whole ones, between
 * the type of an attribute and the zero that ends it. kube-proxy writes its KUBE-FORWARD with each change of a service.
 */
const CONCERNS_US = ["FLANNEL-", "flannel-", "tulle-ports", "\0FORWARD\0", "\0DOCKER-USER\0"].map((name) =>
  Buffer.from(name),
);

export interface FirewallChange {
  /** It concerns our own rules, or those around the accepts. */
  readonly isUrgent: boolean;
  /**
   * The name of the program whose transaction of that kind ended with this, cut to 15 characters; null where the kernel
   * does not report it.
   */
  readonly program: string | null;
  /** The tables that changed, as `ip filter`; null when notifications were lost. */
  readonly tables: ReadonlySet<string> | null;
}

export interface FirewallEventsOptions {
  /** The namespace to listen in; the process's own by default. */
  readonly netns?: NetnsHandle | undefined;
  readonly onChange: (change: FirewallChange) => void;
  readonly onError: (error: unknown) => void;
}

/** Listens until closed (`nft monitor`). Throws NetlinkError where the kernel has no nftables. */
export function watchFirewall({ netns, onChange, onError }: FirewallEventsOptions): NetlinkMonitor {
  let isTransactionUrgent = false;
  return NetlinkMonitor.open({
    protocol: NETLINK_NETFILTER,
    groups: [NFNLGRP_NFTABLES],
    ...(netns === undefined ? {} : { netns }),
    onMessages: (messages) => {
      const isUrgent = messages.some(concernsUs);
      isTransactionUrgent ||= isUrgent;
      const program = programIn(messages);
      const tables = new Set(messages.flatMap((message) => tableIn(message) ?? []));
      onChange({ isUrgent, program: isTransactionUrgent ? program : null, tables });
      if (program !== null) isTransactionUrgent = false;
    },
    onOverflow: () => onChange({ isUrgent: true, program: null, tables: null }),
    onError,
  });
}

function concernsUs(message: NetlinkMessage): boolean {
  return CONCERNS_US.some((name) => message.includes(name));
}

function programIn(messages: readonly NetlinkMessage[]): string | null {
  const end = messages.find(({ type }) => type === typeOf(NFT_MSG_NEWGEN));
  if (end === undefined) return null;
  const attributes = end.attributes(NFGENMSG_BYTES);
  while (attributes.next()) if (attributes.type === NFTA_GEN_PROC_NAME) return attributes.string();
  return null;
}
