/** Faults on the way of a packet that other programs make, for `tulle explain`: tulled leaves them alone. */

import type { Fault } from "./explained-ways.ts";

export const FOREIGN_FAULTS: Readonly<Record<string, Fault>> = {
  "a blackhole route": {
    commands: ["ip route add blackhole SUBNET/28"],
    undo: ["ip route del blackhole SUBNET/28"],
    ...{ outcome: "dropped", cause: "path-diverted" },
    seen: /the blackhole route [\d.]+\/28 of table main discards the packet/,
  },
  "a policy rule that leads to another table": {
    commands: ["ip route add default dev eth0 table 100", "ip rule add to SUBNET/24 lookup 100 priority 50"],
    undo: ["ip rule del priority 50", "ip route del default dev eth0 table 100"],
    ...{ outcome: "diverted", cause: "path-diverted" },
    seen: /the route 0\.0\.0\.0\/0 of table 100 takes the packet by eth0, not tulled's/,
  },
  "a policy rule that discards": {
    commands: ["ip rule add to SUBNET/24 prohibit priority 50"],
    undo: ["ip rule del priority 50"],
    ...{ outcome: "dropped", cause: "path-diverted" },
    seen: /"50: from all to [\d.]+\/24 prohibit" discards the packet/,
  },
  "a rule of iptables that drops": {
    commands: [
      "iptables -I FORWARD 1 -o eth7 -j ACCEPT",
      `iptables -I FORWARD 1 -i docker0 -m comment --comment 'no "way" -s 1.2.3.4' -j DROP`,
    ],
    undo: ["iptables -D FORWARD 1", "iptables -D FORWARD 1"],
    ...{ outcome: "dropped", cause: "local-firewall" },
    seen: /forward: dropped by iptables filter, chain FORWARD: -i docker0 .*-j DROP$/,
  },
  "a rule of nftables that drops behind one that may": {
    commands: [
      "nft add table inet fault",
      'nft "add chain inet fault c { type filter hook forward priority 10; policy accept; }"',
      "nft add rule inet fault c limit rate over 5/second drop",
      'nft "add rule inet fault c ip daddr { SUBNET/24, 10.99.0.0/16 } ct state new icmp type echo-request drop"',
    ],
    undo: ["nft delete table inet fault"],
    ...{ outcome: "dropped", cause: "local-firewall" },
    seen: /forward: dropped by nft inet fault, chain c: ip daddr .* drop$/,
  },
  "forwarding that is switched off": {
    commands: ["sysctl -qw net.ipv4.conf.docker0.forwarding=0"],
    undo: ["sysctl -qw net.ipv4.conf.docker0.forwarding=1"],
    ...{ outcome: "dropped", cause: "forwarding-off" },
    seen: /net\.ipv4\.conf\.docker0\.forwarding is 0/,
  },
  "a bridge that is down": {
    commands: ["ip link set docker0 down"],
    undo: ["ip link set docker0 up"],
    ...{ outcome: "dropped", cause: "bridge-down" },
    seen: /bridge docker0 of this host's containers is down/,
  },
  "the reverse path filter": {
    commands: [
      "ip route add default dev eth0 table 101",
      "ip rule add from SUBNET/24 to OWN/24 lookup 101 priority 40",
      "sysctl -qw net.ipv4.conf.docker0.rp_filter=1",
    ],
    undo: [
      "ip rule del priority 40",
      "ip route flush table 101",
      "sysctl -qw net.ipv4.conf.docker0.rp_filter=0",
    ],
    ...{ outcome: "dropped", cause: "reverse-path-filter" },
    seen: /the reverse path filter drops it/,
  },
  "a longer route of another program by a router": {
    commands: ["ip route add $(echo SUBNET | sed s/0$/2/) via 192.168.50.1 dev eth0"],
    undo: ["ip route del $(echo SUBNET | sed s/0$/2/)"],
    ...{ outcome: "diverted", cause: "path-diverted" },
    seen: /takes the packet by eth0/,
  },
  "a longer route of another program, by which the lease is rejected": {
    commands: ["ip route add SUBNET/28 dev eth0 src 192.168.50.11"],
    undo: ["ip route del SUBNET/28 dev eth0"],
    ...{ outcome: "diverted", cause: "path-diverted" },
    seen: /the route [\d.]+\/28 of table main takes the packet by eth0/,
  },
};
