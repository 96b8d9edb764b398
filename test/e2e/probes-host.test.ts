/**
 * Causes that concern more than one path: of this host, of the store, of a peer without an agent. Each is one problem, and
 * goes when the fault goes.
 */

import { afterEach, beforeAll, expect, it } from "vitest";
import type { StatusReport } from "../../agent/report/status.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

/** Leaves subnets that the tests write by hand out of what hosts lease. */
const CONFIG = {
  Network: "10.2.0.0/16",
  SubnetMin: "10.2.100.0",
  SubnetMax: "10.2.199.0",
  Backend: { Type: "vxlan" },
};

/** Opens more connections than the kernel tracks, each of one packet: every pair of ports is one. */
const FILL_CONNECTIONS = `
import socket, sys
target, most = sys.argv[1], int(sys.argv[2]) + 20000
sent = 0
while sent < most:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    s.bind(("", 0))
    for port in range(1, 60000):
        try:
            s.sendto(b"", (target, port))
            sent += 1
        except BlockingIOError:
            pass
`;

describeWithEtcd("causes beside single paths", () => {
  const net = useEtcdLab("causes", { hosts: 3, config: CONFIG });
  let undo: () => void = () => undefined;

  const run = (number: number, ...commands: readonly string[]): void => {
    for (const command of commands) net.host(number).run("sh", "-c", command);
  };
  const isWell = ({ peers }: StatusReport): boolean =>
    peers.length === 2 && peers.every(({ health }) => health?.state === "good");
  const isReachedAt = (address: string) => (status: StatusReport) =>
    isWell(status) && status.peers.some(({ publicAddress }) => publicAddress === address);
  const untilWell = () => net.host(1).daemon.until(isWell, "has an answer of each peer");
  const untilNamed = (code: string, seen: RegExp) =>
    net
      .host(1)
      .daemon.until(
        ({ causes, problems }) =>
          causes.some((cause) => cause.code === code && seen.test(cause.text)) &&
          problems.some((problem) => problem.includes(`(${code})`)),
        `names ${code}`,
      );
  const sentencesAbout = ({ causes }: StatusReport): readonly string[] => causes.map(({ text }) => text);

  beforeAll(async () => {
    net.lab.lan.ip("address add 192.168.50.1/24 dev lan");
    await net.startAll();
    await untilWell();
  });
  afterEach(async () => {
    undo();
    undo = () => undefined;
    await untilWell();
  });

  it("shows an interface that is down once, and not for each peer", async () => {
    undo = () => run(1, "ip link set eth0 up", "ip route replace default via 192.168.50.1");
    run(1, "ip link set eth0 down");
    const status = await net
      .host(1)
      .daemon.until(
        ({ peers }) => peers.every(({ health }) => health?.cause?.code === "interface-down"),
        "names interface-down at each peer",
      );
    expect(sentencesAbout(status)).toEqual([
      expect.stringMatching(/^this host's interface eth0 is down; 2 of the peers are not reached, such as /),
    ]);
  });

  it("shows an interface that has lost its address once", async () => {
    const address = "192.168.50.11/24 dev eth0";
    undo = () => run(1, `ip address replace ${address}`, "ip route replace default via 192.168.50.1");
    // The store is on this host, at this address.
    run(1, `ip address delete ${address}`);
    const status = await net
      .host(1)
      .daemon.until(
        ({ peers }) => peers.every(({ health }) => health?.cause?.code === "interface-down"),
        "names interface-down at each peer",
      );
    expect(sentencesAbout(status)).toContainEqual(
      expect.stringMatching(
        /^this host's interface eth0 has lost the address 192\.168\.50\.11; 2 of the peers/,
      ),
    );
  });

  it("shows a firewall of this host once", async () => {
    undo = () => run(1, "nft delete table inet fault");
    run(
      1,
      "nft add table inet fault",
      'nft "add chain inet fault c { type filter hook input priority -500; }"',
      "nft add rule inet fault c udp dport 8472 drop",
    );
    const status = await net
      .host(1)
      .daemon.until(
        ({ peers }) => peers.every(({ health }) => health?.cause?.code === "local-firewall"),
        "names local-firewall at each peer",
      );
    expect(sentencesAbout(status)).toHaveLength(1);
  });

  it("shows that no route leads to peers", async () => {
    undo = () => run(1, "ip route add 192.168.50.0/24 dev eth0", "ip route add default via 192.168.50.1");
    run(1, "ip route delete default", "ip route delete 192.168.50.0/24");
    await untilNamed("no-route", /is not reached: packets to .* have no route/);
  });

  it("shows that the router to a peer is dead", async () => {
    undo = () => run(1, "ip route delete 192.168.50.12");
    run(1, "ip route add 192.168.50.12 via 192.168.50.99");
    await untilNamed("no-route", /the router 192\.168\.50\.99 does not answer ARP on the link/);
  });

  it("shows a peer that the router no longer reaches", async () => {
    const sysctl = (...settings: readonly string[]) => net.lab.lan.exec("sysctl", ["-qw", ...settings]);
    const redirects = ["all", "lan"].map((name) => `net.ipv4.conf.${name}.send_redirects=0`);
    undo = () => {
      run(2, "ip link set eth0 up", "ip route replace default via 192.168.50.1");
      run(1, "ip route delete 192.168.50.12");
      sysctl("net.ipv4.ip_forward=0");
    };
    sysctl("net.ipv4.ip_forward=1", ...redirects);
    // The link answered for it before.
    run(1, "ip route add 192.168.50.12 via 192.168.50.1", "ip neighbour flush dev eth0");
    await untilWell();
    run(2, "ip link set eth0 down");
    await untilNamed(
      "host-unreachable",
      /no longer answers, neither through the tunnel nor at 192\.168\.50\.12/,
    );
  });

  it("shows nothing of a path that works by another interface of this host", async () => {
    const name = net.host(1).netns.name;
    net.lab.lan.ip(`link add second type veth peer name eth1 netns ${name}`, "link set second master lan up");
    undo = () => run(1, "ip link delete eth1");
    run(1, "ip link set eth1 up", "ip route add 192.168.50.12/32 dev eth1 src 192.168.50.11");
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const { peers, problems, causes } = await untilWell();
    expect(peers.map(({ health }) => health?.state)).toEqual(["good", "good"]);
    expect([...problems, ...causes]).toEqual([]);
  });

  it("shows that a peer's public address has moved to another host", async () => {
    const { daemon } = net.host(2);
    const address = "192.168.50.100/24 dev eth0";
    const move = (from: number, to: number): void => {
      run(from, `ip address delete ${address}`);
      run(to, `ip address add ${address}`);
      run(1, "ip neighbour flush dev eth0");
    };
    const restart = async (...flags: readonly string[]) => {
      await daemon.stop();
      await daemon.start(...net.flags, ...flags);
    };
    run(2, `ip address add ${address}`);
    await restart("--public-ip=192.168.50.100");
    await net
      .host(1)
      .daemon.until(isReachedAt("192.168.50.100"), "has an answer of the peer at its new address");
    move(2, 3);
    await untilNamed(
      "wrong-address",
      /sends its tunnel packets from 192\.168\.50\.12, not from 192\.168\.50\.100, which its lease names/,
    );
    move(3, 2);
    await untilWell();
    run(2, `ip address delete ${address}`);
    await restart();
    await net.host(1).daemon.until(isReachedAt("192.168.50.12"), "has an answer at the former address");
  });

  it("shows that nothing receives at a peer whose agent and device are gone", async () => {
    const { daemon } = net.host(2);
    await daemon.kill();
    run(2, "ip link delete flannel.1");
    await untilNamed(
      "tunnel-absent",
      /nothing receives the tunnel \(UDP port 8472\) there \(port unreachable\)/,
    );
    await daemon.start(...net.flags);
  });

  it("shows that a peer's agent is gone while its path works", async () => {
    const { daemon } = net.host(2);
    undo = () => daemon.spawn(...net.flags);
    await daemon.kill();
    const named = async () => (await net.host(1).daemon.status())?.causes.map(({ code }) => code);
    await expect.poll(named, { timeout: 120_000, interval: 1_000 }).toEqual(["agent-gone"]);
  });

  it("shows a peer that is in the store and never answered", async () => {
    const key = "10.2.250.0-24";
    undo = () => net.delete(`subnets/${key}`);
    const backend = { BackendType: "vxlan", BackendData: { VNI: 1, VtepMAC: "5e:00:00:00:00:fa" } };
    net.put(`subnets/${key}`, JSON.stringify({ PublicIP: "10.99.0.9", ...backend }));
    await untilNamed("never-answered", /peer 10\.2\.250\.0-24 has never answered/);
  });

  it("shows a store that is out of reach", async () => {
    const [member] = net.etcd.members;
    await member?.pause();
    undo = () => member?.resume();
    await untilNamed("store-stale", /out of reach/);
  });

  it("shows a table of connections that is full, with what it cost", async () => {
    const host = net.host(1);
    const most = host.run("cat", "/proc/sys/net/netfilter/nf_conntrack_max").trim();
    undo = () => run(1, "nft delete table inet fault", "ip neighbour delete 192.168.50.200 dev eth0");
    run(
      1,
      "nft add table inet fault",
      'nft "add chain inet fault c { type filter hook output priority 0; }"',
      "nft add rule inet fault c ct state new counter",
      "ip neighbour add 192.168.50.200 lladdr 02:00:00:00:00:c8 dev eth0",
    );
    host.run("python3", "-c", FILL_CONNECTIONS, "192.168.50.200", most);
    await untilNamed(
      "conntrack-full",
      /full .*\d+ of \d+; \d+ packets dropped and \d+ connections forgotten/,
    );
  });
});
