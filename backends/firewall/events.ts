/**
 * Notices changes of nftables, iptables-nft's among them. Legacy iptables reports nothing: there only an audit helps.
 *
 * Says only that something may have changed, and whether it is likely to concern us; what, the next pass finds out.
 */

import type { NetlinkMessage } from "../netlink/message.ts";
import { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";

/** linux/netlink.h */
const NETLINK_NETFILTER = 12;
/** linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;

/** Names in notifications of our own objects, and of those where others' changes can keep packets from us. */
const CONCERNS_US = ["FLANNEL-", "flannel-", "FORWARD", "DOCKER-USER"].map((name) => Buffer.from(name));

export interface FirewallEventsOptions {
  /** The namespace to listen in; the process's own by default. */
  readonly netns?: NetnsHandle | undefined;
  /** `isUrgent`: it is about our own rules, or about what stands around the accepts. */
  readonly onChange: (isUrgent: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** Listens until closed (`nft monitor`). Throws NetlinkError where the kernel has no nftables. */
export function watchFirewall({ netns, onChange, onError }: FirewallEventsOptions): NetlinkMonitor {
  return NetlinkMonitor.open({
    protocol: NETLINK_NETFILTER,
    groups: [NFNLGRP_NFTABLES],
    ...(netns === undefined ? {} : { netns }),
    onMessages: (messages) => onChange(messages.some(concernsUs)),
    onOverflow: () => onChange(true),
    onError,
  });
}

function concernsUs(message: NetlinkMessage): boolean {
  return CONCERNS_US.some((name) => message.includes(name));
}
