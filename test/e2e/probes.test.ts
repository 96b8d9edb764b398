/** Probes find what is wrong between two hosts, name it, and see that it works again. */

import { afterEach, beforeAll, expect, it } from "vitest";
import { describeWithEtcd, type Host, useEtcdLab } from "../support/hosts.ts";

const CONFIG = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "vxlan" },
};

interface Fault {
  /** Shell commands on the peer, host2, or on host1 where it says so; SUBNET is host2's. */
  readonly on: 1 | 2;
  readonly commands: readonly string[];
  readonly undo: readonly string[];
  readonly cause: string;
  readonly seen: RegExp;
}

const drop = (chain: string, rule: string): readonly string[] => [
  "nft add table inet fault",
  `nft "add chain inet fault c { type filter hook ${chain} priority -500; }"`,
  `nft "add rule inet fault c ${rule} drop"`,
];
const undrop = ["nft delete table inet fault"];

const FAULTS: Readonly<Record<string, Fault>> = {
  "the peer drops what arrives at the tunnel port": {
    on: 2,
    commands: drop("input", "udp dport 8472"),
    undo: undrop,
    cause: "tunnel-filtered",
    seen: /answers at .* but no longer through the tunnel \(UDP port 8472\)/,
  },
  "the peer's answers are dropped on their way out": {
    on: 2,
    commands: drop("output", "udp dport 8472"),
    undo: undrop,
    cause: "tunnel-filtered",
    seen: /no longer through the tunnel/,
  },
  "large tunnel packets are lost": {
    on: 2,
    commands: drop("input", "udp dport 8472 meta length gt 1330"),
    undo: undrop,
    cause: "large-packets-lost",
    seen: /loses packets of 1430 bytes, but not small ones; 12\d\d bytes pass/,
  },
  "TCP alone is lost inside the tunnel": {
    on: 2,
    commands: drop("input", 'iifname "flannel*" meta l4proto tcp'),
    undo: undrop,
    cause: "tcp-lost",
    seen: /but no TCP/,
  },
  "a policy rule takes the packets": {
    on: 1,
    commands: ["ip rule add to SUBNET priority 99 blackhole"],
    undo: ["ip rule delete priority 99"],
    cause: "path-diverted",
    seen: /99/,
  },
  "the peer has left the link": {
    on: 2,
    commands: ["sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1", "ip link set eth0 down"],
    undo: ["ip link set eth0 up"],
    cause: "host-down",
    seen: /nothing answers for 192\.168\.50\.12 on the link/,
  },
};

describeWithEtcd("probes of the paths to peers", () => {
  const net = useEtcdLab("probes", { hosts: 3, config: CONFIG, families: [4, 6] });
  let subnet = "";
  let undo: () => void = () => undefined;

  const sh = (host: Host, commands: readonly string[]): void => {
    for (const command of commands) host.run("sh", "-c", command.replace("SUBNET", subnet));
  };
  const healthOfPeer = async () => {
    const status = await net.host(1).daemon.status();
    return status?.peers.find(({ key }) => key.startsWith(subnet.replace("/24", "")))?.health;
  };

  beforeAll(async () => {
    await net.startAll();
    const [key = ""] = (await net.host(2).daemon.status())?.lease.key.split("-") ?? [];
    subnet = `${key}/24`;
    const all = ({ peers }: { peers: readonly { health?: { state: string } }[] }) =>
      peers.length === 2 && peers.every(({ health }) => health?.state === "good");
    for (const host of net.lab.hosts) await host.daemon.until(all, "has an answer of each peer");
  });
  afterEach(() => {
    undo();
    undo = () => undefined;
  });

  it.each(Object.entries(FAULTS))("%s", async (_, { on, commands, undo: back, cause, seen }) => {
    const host = net.host(on);
    undo = () => sh(host, back);
    sh(host, commands);
    await net
      .host(1)
      .daemon.until(
        ({ problems }) => problems.some((text) => text.includes(`(${cause})`) && seen.test(text)),
        `names ${cause}`,
      );
    expect((await healthOfPeer())?.cause?.code).toBe(cause);
    undo();
    undo = () => undefined;
    await net
      .host(1)
      .daemon.until(
        ({ peers }) => peers.every(({ health }) => health?.state === "good"),
        "sees that the path works again",
      );
  });
});
