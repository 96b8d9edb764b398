/**
 * Watches for changes of nftables, including those of iptables-nft. Legacy iptables reports none: only audits find them.
 *
 * Reports only that something may have changed, whether it is likely to concern us, and which program changed it; the
 * next pass finds what.
 */

import type { NetlinkMessage } from "../netlink/message.ts";
import { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";

/** linux/netlink.h */
const NETLINK_NETFILTER = 12;
/** linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
const NFGENMSG_BYTES = 4;

/** linux/netfilter/nf_tables.h: ends the notifications of a transaction and names the program that made it. */
const NFT_MSG_NEWGEN = 15;
const NFTA_GEN_PROC_NAME = 3;

/** Names in notifications of our own objects, and of those where foreign changes can keep packets from us. */
const CONCERNS_US = ["FLANNEL-", "flannel-", "tulle-ports", "FORWARD", "DOCKER-USER"].map((name) =>
  Buffer.from(name),
);

export interface FirewallEventsOptions {
  /** The namespace to listen in; the process's own by default. */
  readonly netns?: NetnsHandle | undefined;
  /**
   * `isUrgent`: it concerns our own rules, or those around the accepts. `program`: the name of the program whose
   * transaction of that kind ended with this, cut to 15 characters; null where the kernel does not report it.
   */
  readonly onChange: (isUrgent: boolean, program: string | null) => void;
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
      onChange(isUrgent, isTransactionUrgent ? program : null);
      if (program !== null) isTransactionUrgent = false;
    },
    onOverflow: () => onChange(true, null),
    onError,
  });
}

function concernsUs(message: NetlinkMessage): boolean {
  return CONCERNS_US.some((name) => message.includes(name));
}

function programIn(messages: readonly NetlinkMessage[]): string | null {
  const end = messages.find(({ type }) => type === ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWGEN));
  if (end === undefined) return null;
  const attributes = end.attributes(NFGENMSG_BYTES);
  while (attributes.next()) if (attributes.type === NFTA_GEN_PROC_NAME) return attributes.string();
  return null;
}
