/** Faults of the path between two hosts over VXLAN, with the cause that probes must name. */

/** Shell commands by the host that they run on; the fault is seen from host1, the peer is host2. */
export type Commands = Readonly<Partial<Record<"host1" | "host2" | "host3" | "lan", readonly string[]>>>;

export interface PathFault {
  /** SUBNET is the peer's, LONGER the upper half of it. */
  readonly on: Commands;
  readonly undo: Commands;
  readonly cause: string;
  readonly seen: RegExp;
}

const drop = (chain: string, rule: string): readonly string[] => [
  "nft add table inet fault",
  `nft "add chain inet fault c { type filter hook ${chain} priority -500; }"`,
  `nft "add rule inet fault c ${rule} drop"`,
];
const undrop = ["nft delete table inet fault"];

/** ETHTOOL_STXCSUM of ethtool(8), for a machine without it: has the kernel itself compute what the device would. */
const computeChecksums = (device: string, isOffloaded: boolean): string =>
  `python3 -c 'import fcntl,socket,struct,ctypes
v=ctypes.create_string_buffer(struct.pack("II",0x17,${isOffloaded ? 1 : 0}))
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
fcntl.ioctl(s,0x8946,struct.pack("16sP8x",b"${device}",ctypes.addressof(v)))'`;

/** On the switch, at the port of a host: damages the checksum of TCP inside VXLAN, as a network card does. */
const damage = (port: string, which = ""): readonly string[] => [
  "nft add table netdev fault",
  `nft "add chain netdev fault c { type filter hook ingress device ${port} priority 0; }"`,
  // From the header of UDP: 30 bytes to the inner IPv4 header, its protocol, and the checksum of TCP behind it.
  `nft "add rule netdev fault c udp dport 8472 @th,312,8 6 ${which} @th,528,16 set 0xbeef"`,
];
const undamage = ["nft delete table netdev fault"];

export const PATH_FAULTS: Readonly<Record<string, PathFault>> = {
  "the peer drops what arrives at the tunnel port": {
    on: { host2: drop("input", "udp dport 8472") },
    undo: { host2: undrop },
    cause: "tunnel-filtered",
    seen: /answers at .* but no longer through the tunnel \(UDP port 8472\): its tunnel packets arrive here/,
  },
  "the peer's answers are dropped on their way out": {
    on: { host2: drop("output", "udp dport 8472") },
    undo: { host2: undrop },
    cause: "tunnel-filtered",
    seen: /no longer through the tunnel.*: \d+ packets left this host, none came from it/,
  },
  "a firewall rejects the tunnel's packets": {
    on: { host2: drop("input", "udp dport 8472 reject with icmp admin-prohibited #") },
    undo: { host2: undrop },
    cause: "tunnel-filtered",
    seen: /prohibited by an administrator, says 192\.168\.50\.12/,
  },
  "the peer rejects what comes out of the tunnel": {
    on: { host2: drop("input", 'iifname "flannel*" reject with icmpx admin-prohibited #') },
    undo: { host2: undrop },
    cause: "peer-firewall",
    seen: /rejects what arrives through the tunnel: .*prohibited by an administrator, says 10\.2\./,
  },
  "the peer drops all that arrives by default": {
    on: {
      host2: [
        "nft add table ip fault",
        'nft "add chain ip fault c { type filter hook input priority 0; policy drop; }"',
        "nft add rule ip fault c ct state established,related accept",
      ],
    },
    undo: { host2: ["nft delete table ip fault"] },
    cause: "peer-firewall",
    seen: /no longer answers, neither through the tunnel nor at 192\.168\.50\.12, though its tunnel packets arrive here/,
  },
  "this host drops the peer's tunnel packets": {
    on: { host1: drop("input", "ip saddr 192.168.50.12 udp dport 8472") },
    undo: { host1: undrop },
    cause: "local-firewall",
    seen: /tunnel packets arrive at eth0 and are dropped on this host/,
  },
  "this host drops tunnel packets to the peer": {
    on: { host1: drop("output", "ip daddr 192.168.50.12 udp dport 8472") },
    undo: { host1: undrop },
    cause: "local-firewall",
    seen: /tunnel packets do not leave eth0/,
  },
  // From a request of the peer the kernel would learn its hardware address as well.
  "this host drops what ARP says": {
    on: {
      host1: [
        "nft add table arp fault",
        'nft "add chain arp fault c { type filter hook input priority 0; }"',
        "nft add rule arp fault c drop",
        "ip neighbour flush dev eth0",
      ],
    },
    undo: { host1: ["nft delete table arp fault"] },
    cause: "local-firewall",
    seen: /answers of ARP for 192\.168\.50\.\d+ arrive at eth0, and this host drops them/,
  },
  "this host drops the answers of neighbour discovery": {
    on: {
      host1: [
        "nft add table ip6 fault",
        'nft "add chain ip6 fault c { type filter hook input priority -500; }"',
        "nft add rule ip6 fault c icmpv6 type nd-neighbor-advert drop",
        "ip -6 neighbour flush dev eth0",
      ],
    },
    undo: { host1: ["nft delete table ip6 fault"] },
    cause: "local-firewall",
    seen: /answers of neighbour discovery for fd00:50::\S+ arrive at eth0, and this host drops them/,
  },
  "this host drops all that arrives, before its firewall": {
    on: {
      host1: [
        "nft add table netdev fault",
        'nft "add chain netdev fault c { type filter hook ingress device eth0 priority 0; }"',
        "nft add rule netdev fault c drop",
        "ip neighbour flush dev eth0",
      ],
    },
    undo: { host1: ["nft delete table netdev fault"] },
    cause: "local-firewall",
    seen: /arrive at eth0/,
  },
  "large tunnel packets are lost": {
    on: { host2: drop("input", "udp dport 8472 meta length gt 1330") },
    undo: { host2: undrop },
    cause: "large-packets-lost",
    seen: /loses packets of 1430 bytes, but not small ones; 12\d\d bytes pass/,
  },
  "this host's kernel holds the path's MTU for smaller": {
    on: { host1: ["ip -6 route add fd00:50::c dev eth0 mtu 1400"] },
    undo: { host1: ["ip -6 route delete fd00:50::c dev eth0"] },
    cause: "large-packets-lost",
    seen: /over IPv6 loses packets of 1430 bytes.*; this host's kernel holds the MTU to fd00:50::\S+ for 1400 bytes/,
  },
  "TCP alone is dropped inside the tunnel": {
    on: { host2: drop("input", 'iifname "flannel*" meta l4proto tcp') },
    undo: { host2: undrop },
    cause: "tcp-lost",
    seen: /but no longer TCP/,
  },
  "the peer's card damages checksums": {
    on: { host2: [computeChecksums("flannel.1", false)], lan: damage("host2") },
    undo: { lan: undamage, host2: [computeChecksums("flannel.1", true)] },
    cause: "checksum-broken",
    seen: /its TCP segments arrive with wrong checksums/,
  },
  // A card computes checksums of the kernel's own segments, which have options; those of a raw socket have none.
  "this host's card damages checksums": {
    on: { host1: [computeChecksums("flannel.1", false)], lan: damage("host1", "@th,496,4 != 5") },
    undo: { lan: undamage, host1: [computeChecksums("flannel.1", true)] },
    cause: "checksum-broken",
    seen: /this host's card damages it/,
  },
  "the peer's large answers arrive damaged": {
    on: {
      lan: [
        "nft add table netdev fault",
        'nft "add chain netdev fault c { type filter hook ingress device host2 priority 0; }"',
        // In the payload of an echo reply, 22 bytes behind its header.
        'nft "add rule netdev fault c ip daddr 192.168.50.11 udp dport 8472 meta length gt 1000 @th,640,16 set 0xdead"',
      ],
    },
    undo: { lan: undamage },
    cause: "checksum-broken",
    seen: /answers pings through the tunnel, and the answers arrive damaged/,
  },
  "the peer uses another VNI": {
    on: {
      host2: [
        "nft add table inet fault",
        'nft "add chain inet fault c { type filter hook output priority -500; }"',
        'nft "add rule inet fault c udp dport 8472 @th,96,24 set 2"',
        // What arrives has the wrong VNI for it.
        ...drop("input", "udp dport 8472")
          .slice(1)
          .map((line) => line.replaceAll("fault c", "fault d")),
      ],
    },
    undo: { host2: undrop },
    cause: "tunnel-mismatch",
    seen: /sends its tunnel packets with VNI 2 instead of 1/,
  },
  "the peer has a wrong entry for this host's tunnel device": {
    on: {
      lan: [
        "nft add table netdev fault",
        'nft "add chain netdev fault c { type filter hook ingress device host2 priority 0; }"',
        // From the header of UDP: 16 bytes to the frame inside.
        'nft "add rule netdev fault c ip daddr 192.168.50.11 udp dport 8472 @th,128,48 set 0x020000000099"',
      ],
    },
    undo: { lan: undamage },
    cause: "tunnel-mismatch",
    seen: /sends its tunnel packets to the hardware address 02:00:00:00:00:99, and this host's tunnel device has /,
  },
  "the peer is behind address translation": {
    on: {
      host2: [
        "ip address add 192.168.50.77/24 dev eth0",
        "nft add table inet fault",
        'nft "add chain inet fault c { type filter hook postrouting priority 100; }"',
        // Without state: the tunnel's packets are not tracked.
        'nft "add rule inet fault c udp dport 8472 ip saddr set 192.168.50.77"',
        ...drop("input", "udp dport 8472")
          .slice(1)
          .map((line) => line.replaceAll("fault c", "fault d")),
      ],
    },
    undo: { host2: [...undrop, "ip address delete 192.168.50.77/24 dev eth0"] },
    cause: "wrong-address",
    seen: /sends its tunnel packets from 192\.168\.50\.77, not from 192\.168\.50\.12/,
  },
  "two hosts have one address": {
    on: {
      host3: ["ip address add 192.168.50.12/24 dev eth0"],
      host1: ["ip neighbour flush dev eth0"],
      // The packets go to the wrong one.
      host2: drop("input", "udp dport 8472"),
    },
    undo: {
      host3: ["ip address delete 192.168.50.12/24 dev eth0"],
      host2: undrop,
      host1: ["ip neighbour flush dev eth0"],
    },
    cause: "wrong-address",
    seen: /more than one host answers for 192\.168\.50\.12: /,
  },
  "a policy rule takes the packets": {
    on: { host1: ["ip rule add to SUBNET priority 99 blackhole"] },
    undo: { host1: ["ip rule delete priority 99"] },
    cause: "path-diverted",
    seen: /99/,
  },
  "a policy rule makes the peer unreachable, which is no answer to TCP": {
    on: { host1: ["ip rule add to SUBNET priority 99 unreachable"] },
    undo: { host1: ["ip rule delete priority 99"] },
    cause: "path-diverted",
    seen: /99: from all to \S+ unreachable/,
  },
  "a policy rule takes the tunnel's packets": {
    on: {
      host1: [
        "ip rule add from 192.168.50.11 priority 99 lookup 100",
        "ip route add blackhole default table 100",
      ],
    },
    undo: { host1: ["ip rule delete priority 99", "ip route flush table 100"] },
    cause: "path-diverted",
    seen: /packets to 192\.168\.50\.12 are discarded: blackhole route 0\.0\.0\.0\/0 of table 100/,
  },
  "a policy rule takes packets with an address of a subnet": {
    on: { host1: ["ip rule add from 10.2.0.0/16 to SUBNET priority 99 blackhole"] },
    undo: { host1: ["ip rule delete priority 99"] },
    cause: "path-diverted",
    seen: /packets to \S+ are discarded: rule "99: from 10\.2\.0\.0\/16 to \S+ blackhole"/,
  },
  "this host takes the peer's packets for its own": {
    on: { host1: ["ip route add local 192.168.50.12 dev lo"] },
    undo: { host1: ["ip route delete local 192.168.50.12 dev lo"] },
    cause: "path-diverted",
    seen: /packets to 192\.168\.50\.12 do not leave this host, which has that address itself \(lo\)/,
  },
  "this host has a wrong hardware address for the peer": {
    on: { host1: ["ip neighbour replace 192.168.50.12 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"] },
    undo: { host1: ["ip neighbour delete 192.168.50.12 dev eth0"] },
    cause: "path-diverted",
    seen: /packets to 192\.168\.50\.12 go to 02:00:00:00:00:99, but [0-9a-f:]{17} answers for it on the link/,
  },
  "this host has a wrong hardware address for the peer's IPv6 address": {
    on: { host1: ["ip neighbour replace fd00:50::c lladdr 02:00:00:00:00:99 dev eth0 nud permanent"] },
    undo: { host1: ["ip neighbour delete fd00:50::c dev eth0"] },
    cause: "host-unreachable",
    seen: /this host's neighbour entry of fd00:50::\S+ is permanent \(02:00:00:00:00:99\)/,
  },
  "the peer has a wrong hardware address for this host": {
    on: { host2: ["ip neighbour replace 192.168.50.11 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"] },
    undo: { host2: ["ip neighbour delete 192.168.50.11 dev eth0"] },
    cause: "host-unreachable",
    seen: /no longer answers, neither through the tunnel nor at 192\.168\.50\.12/,
  },
  "a longer route takes a part of the packets": {
    on: { host1: ["ip route add blackhole LONGER"] },
    undo: { host1: ["ip route delete blackhole LONGER"] },
    cause: "path-diverted",
    seen: /a part of .* takes the longer foreign route .*\/25/,
  },
  "a longer route leads a part of the packets to another device": {
    on: { host1: ["ip link add stray type bridge", "ip link set stray up", "ip route add LONGER dev stray"] },
    undo: { host1: ["ip link delete stray"] },
    cause: "path-diverted",
    seen: /a part of .* takes the longer foreign route .*\/25 dev stray/,
  },
  "reverse path filtering drops the peer's packets": {
    on: {
      // Another interface of this host on the link, by which the peer's packets come.
      lan: [
        "ip link add second type veth peer name eth1 address 02:00:00:00:00:71 netns HOST1",
        "ip link set second master lan up",
      ],
      host1: ["ip link set eth1 up", "sysctl -qw net.ipv4.conf.eth1.rp_filter=1"],
      host2: ["ip neighbour replace 192.168.50.11 lladdr 02:00:00:00:00:71 dev eth0 nud permanent"],
    },
    undo: { host2: ["ip neighbour delete 192.168.50.11 dev eth0"], host1: ["ip link delete eth1"] },
    cause: "reverse-path-filter",
    seen: /dropped \d+ packets by reverse path filtering/,
  },
  "the peer answers no neighbour discovery, and is up": {
    on: {
      host2: [
        "nft add table ip6 fault",
        ...["input", "output"].flatMap((hook) => [
          `nft "add chain ip6 fault ${hook} { type filter hook ${hook} priority -500; }"`,
          `nft add rule ip6 fault ${hook} icmpv6 type nd-neighbor-solicit drop`,
        ]),
      ],
      host1: ["ip -6 neighbour flush dev eth0"],
    },
    undo: { host2: ["nft delete table ip6 fault"] },
    cause: "address-silent",
    seen: /nothing answers neighbour discovery for fd00:50::\S+ on the link, though the host is up/,
  },
  "the peer has left the link": {
    on: { host2: ["sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1", "ip link set eth0 down"] },
    undo: { host2: ["ip link set eth0 up"] },
    cause: "host-down",
    seen: /nothing answers for 192\.168\.50\.12 on the link/,
  },
  // The last one: what was lost counts for a while.
  "a half of all packets is lost": {
    on: { host2: drop("input", "udp dport 8472 numgen random mod 100 < 40") },
    undo: { host2: undrop },
    cause: "packets-lost",
    seen: /answers, but \d+ of the last \d+ packets were lost/,
  },
};
