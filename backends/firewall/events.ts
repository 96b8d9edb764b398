/**
 * Notices changes of nftables, iptables-nft's among them. Legacy iptables reports nothing: there only an audit helps.
 *
 * Says only that something may have changed; what, the next pass finds out.
 */

import { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";

/** linux/netlink.h */
const NETLINK_NETFILTER = 12;
/** linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;

export interface FirewallEventsOptions {
  /** The namespace to listen in; the process's own by default. */
  readonly netns?: NetnsHandle | undefined;
  readonly onChange: () => void;
  readonly onError: (error: unknown) => void;
}

/** Listens until closed (`nft monitor`). Throws NetlinkError where the kernel has no nftables. */
export function watchFirewall({ netns, onChange, onError }: FirewallEventsOptions): NetlinkMonitor {
  return NetlinkMonitor.open({
    protocol: NETLINK_NETFILTER,
    groups: [NFNLGRP_NFTABLES],
    ...(netns === undefined ? {} : { netns }),
    onMessages: onChange,
    onOverflow: onChange,
    onError,
  });
}
