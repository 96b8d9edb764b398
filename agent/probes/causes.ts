/**
 * What can be wrong with the path to a peer, by name, with the remedy. Pure.
 *
 * docs/troubleshooting.md has a paragraph for each code; a test compares both ways.
 */

/** Every cause, with what to do about it. */
export const CAUSES = {
  "interface-down": "bring the interface up, give it its address again, or mend its cable or virtual port",

  "path-diverted":
    'delete the rule, route, address or neighbour entry that takes the packets; "ip rule", "ip route get", "ip address" and "ip neighbour" show it',
  "no-route":
    'give this host a route to the address that is named, by a router that answers; those to subnets of peers are tulled\'s, and "tulle status" shows what keeps it from making them',
  "local-firewall":
    'let the firewall of this host accept the tunnel\'s packets and the answers of ARP: "nft list ruleset", "iptables-save", "arptables-save", "tc filter show dev INTERFACE ingress" (and egress), "tc -s qdisc show dev INTERFACE" and "ip xfrm policy" show the rule',
  "lease-lost":
    'mend what "tulle status" says of this host\'s lease: until then peers send the packets for its containers elsewhere, or nowhere',
  "host-down":
    "start the peer, or mend its cable, VLAN or switch port (isolation keeps ports apart); if no other host reaches it and it has left for good, delete its lease",
  "address-silent":
    "give the peer that address again, and let its firewall and its reverse path filter accept ARP and neighbour discovery; or publish the address that it has (--public-ip on the peer)",
  "host-unreachable":
    "look at the peer and at the network between, firewalls that may drop the tunnel's packets included",
  "tunnel-filtered":
    "let the firewalls between both hosts pass the tunnel's packets in both directions; look at the peer's tunnel device, its address, routes, neighbour and forwarding entries for this host, and whether its lease names its public address, VNI and hardware address",

  "peer-firewall":
    'let the firewall of the peer accept the tunnel\'s packets and what comes through it, pings included: "nft list ruleset" and "iptables-save" there show the rule; without one look at its route and neighbour entry for this host, and at filters between both',
  "tunnel-absent":
    "start the agent on the peer, give all hosts the same port, and let the peer's firewall accept it: nothing receives the tunnel's packets there",
  "tunnel-mismatch":
    "give both hosts the same network configuration (for WireGuard the same PSK), and restart the agent whose configuration, device or entries are old",
  "wrong-address":
    "publish the address by which the peer is reached (--public-ip on the peer), and give each host an address of its own",
  "reverse-path-filter":
    "set net.ipv4.conf.all.rp_filter and that of the interface to 0 or 2, or route both ways by the same interface",
  "large-packets-lost":
    'give the network configuration an MTU that fits, or mend that of the path; a smaller one that the kernel has learned it keeps for ten minutes: "ip route flush cache", for IPv6 "ip -6 route flush cache"',
  "checksum-broken":
    'switch the checksum offload of the sender\'s tunnel device off: "ethtool -K DEVICE tx-checksum-ip-generic off"; if pings are damaged too, replace the card, driver or cable that does it',
  "tcp-lost": "let the peer's firewall answer TCP, or look for checksum errors there (nstat TcpInCsumErrors)",
  "packets-lost":
    "look for an overloaded link, queue or host on the way; the counters of both interfaces tell",
  "answers-late":
    "look for an overloaded link, queue or host on the way: answers arrive, too late for most programs",
  "never-answered": "look at the peer: its lease is in the store, but it never answered",
  "agent-gone":
    "start the agent on the peer, or mend its way to the store; if it has left for good, revoke its lease",
  "store-stale": "mend the store or the way to it; until then this host learns of no change",
  "conntrack-full": "raise net.netfilter.nf_conntrack_max; the kernel drops new connections",
  "forwarding-off":
    'set what is named to 1, by "sysctl -w NAME=1"; with --ip-forward tulled does so for the whole host',
  "bridge-down":
    'set the bridge up: "ip link set BRIDGE up"; IPv6 addresses went when it was set down, and Docker gives them again when it restarts',
  "containers-cut-off":
    'on the host that does not forward: switch forwarding on (sysctl net.ipv4.ip_forward, net.ipv6.conf.all.forwarding), and let its firewall accept what is forwarded to and from the network; "tulle explain" there names the rule',
  "neighbours-full":
    "raise net.ipv4.neigh.default.gc_thresh3 (for IPv6 net.ipv6...); the kernel reaches no new neighbour",
} as const;

export type CauseCode = keyof typeof CAUSES;

/** Those that are the fault of this host, whichever peers suffer: they are shown once. */
const HOST_CAUSES: ReadonlySet<CauseCode> = new Set([
  "interface-down",
  "local-firewall",
  "reverse-path-filter",
  "lease-lost",
  "store-stale",
  "conntrack-full",
  "neighbours-full",
  "forwarding-off",
  "bridge-down",
]);

/** Which packets do not pass, as far as that can be told. */
export type Direction = "to peer" | "from peer";

export interface Cause {
  readonly code: CauseCode;
  /** `host`: of this host, for all peers that it concerns; `peer`: of one path. */
  readonly scope: "host" | "peer";
  /** What was seen, as the end of a sentence that begins with the peer; of scope `host` a sentence of its own. */
  readonly text: string;
  readonly remedy: string;
  readonly direction?: Direction;
}

/** A cause with its scope and remedy. */
export function causeOf(code: CauseCode, text: string, direction?: Direction): Cause {
  const scope = isOfHost(code) ? "host" : "peer";
  return { code, scope, text, remedy: CAUSES[code], ...(direction === undefined ? {} : { direction }) };
}

/** Whether a cause is the fault of this host. */
export function isOfHost(code: CauseCode): boolean {
  return HOST_CAUSES.has(code);
}
