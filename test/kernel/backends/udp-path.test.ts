/** The udp backend's data path with real packets: ours to ours, a peer played by hand, and packets that must not pass. */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { Counter } from "../../../backends/datapath/counters.ts";
import { encodeRequest } from "../../../backends/datapath/path-probe.ts";
import { bundle } from "../../support/bundle.ts";
import { describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { bundlePathProgram, type PathProgram } from "../../support/path-program.ts";
import { ping } from "../../support/ping.ts";
import { answerEchoes, checksum, echoRequest, sendRaw } from "../../support/raw-peer.ts";
import { transfer } from "../../support/transfer.ts";
import {
  createLan,
  holdDevice,
  holdPort,
  MTU_BYTES,
  makeDevice,
  peersOf,
  plugIn,
  startUdpHost,
  type UdpHost,
} from "../../support/udp-hosts.ts";
import { udpLease } from "../../support/udp-lease.ts";

const FAMILIES = [4, 6] as const;
const ONE = "192.168.77.1";

/** What ping(8) prints; it ends with an error when nothing answers. */
function pingOutput(netns: TestNetns, ...args: readonly string[]): string {
  return netns.exec("sh", ["-c", 'ping -n -c 1 -W 1 "$@" || true', "sh", ...args]);
}

describeAsRoot("the data path of the udp backend", () => {
  let program: PathProgram;
  let lan: TestNetns;
  let one: UdpHost;
  let two: UdpHost;
  /** Plays a host that runs flanneld. */
  let hand: TestNetns;

  const leasesOfOne = [udpLease(2, { families: FAMILIES }), udpLease(3, { isTulle: false })];
  const flowing = (host: UdpHost) =>
    vi.waitFor(() => expect(host.runner.problems).toEqual([]), { timeout: 10_000 });
  const problemOf = (host: UdpHost, text: string) =>
    vi.waitFor(() => expect(host.runner.problems).toEqual([expect.stringContaining(text)]), 10_000);

  /** Sends packets and waits until host 1 has counted them. */
  async function expectCounted(counter: Counter, netns: TestNetns, ...packets: readonly Buffer[]) {
    const before = one.runner.counts;
    const echoes = readEchoes(one.container);
    sendRaw(netns, ONE, ...packets);
    await vi.waitFor(() => expect(one.runner.counts[counter]).toBe(before[counter] + packets.length), 5_000);
    expect(one.runner.counts.receivedPackets).toBe(before.receivedPackets);
    expect(readEchoes(one.container)).toBe(echoes);
  }

  beforeAll(async () => {
    program = await bundlePathProgram();
    lan = createLan();
    one = startUdpHost(lan, 1, program.url, leasesOfOne);
    two = startUdpHost(lan, 2, program.url, [udpLease(1, { families: FAMILIES })]);
    hand = plugIn(lan, 3);
    await flowing(one);
    await flowing(two);
    // A bridge forwards within a second of a new port's carrier, and neighbour discovery tries once a second.
    for (const address of ["10.2.2.2", "fd00:2:0:2::2"])
      await vi.waitFor(() => expect(pingOutput(one.container, address)).toContain("1 received"), 10_000);
  });

  afterAll(async () => {
    await one?.dispose();
    await two?.dispose();
    hand?.dispose();
    lan?.dispose();
    program?.dispose();
  });

  it("carries packets of both families, small and as large as the device's MTU", async () => {
    for (const [address, headers] of [
      ["10.2.2.2", 28],
      ["fd00:2:0:2::2", 48],
    ] as const) {
      expect(await ping(one.container, address, 20)).toMatchObject({ lost: [] });
      const payloadBytes = MTU_BYTES - headers;
      expect(await ping(one.container, address, 5, { payloadBytes })).toMatchObject({ lost: [] });
    }
  });

  it.each([
    ["10.2.2.2", 4],
    ["fd00:2:0:2::2", 6],
  ])("carries a TCP stream to %s unchanged, in super-packets", async (address) => {
    const before = two.runner.counts;
    const { sent, received } = await transfer(one.container, two.container, address, 40);
    expect(received).toBe(sent);
    expect(two.runner.counts.malformed).toBe(before.malformed);
  });

  it("carries fragments", () => {
    expect(pingOutput(one.container, "-s", "4000", "10.2.2.2")).toContain("1 received");
    expect(pingOutput(one.container, "-s", "4000", "fd00:2:0:2::2")).toContain("1 received");
  });

  it("carries a TCP stream to a host that is not known to run tulle, at its pace", async () => {
    const { subnets: own } = udpLease(1, { families: FAMILIES });
    one.runner.follow({ own, peers: peersOf([udpLease(2, { isTulle: false })]) });
    const { sent, received } = await transfer(one.container, two.container, "10.2.2.2", 20);
    expect(received).toBe(sent);
    one.runner.follow({ own, peers: peersOf(leasesOfOne) });
  });

  it("carries congestion marks out and back in", () => {
    const count = (netns: TestNetns) =>
      Number(/packets (\d+)/.exec(netns.exec("nft", ["list", "ruleset"]))?.[1]);
    const chain = (rule: string) => `table ip tulle-test {
      chain c { type filter hook prerouting priority -300; ${rule}; }
    }`;
    const load = (netns: TestNetns, rule: string) =>
      netns.exec("sh", ["-c", 'echo "$0" | nft -f -', chain(rule)]);
    load(two.netns, "udp dport 8285 ip ecn ect0 counter ip ecn set ce");
    load(two.container, "icmp type echo-request ip ecn ce counter");
    try {
      // ECT(0) is 2; 0 is a sender without ECN, whose packets no router marks.
      expect(pingOutput(one.container, "-Q", "2", "10.2.2.2")).toContain("1 received");
      expect(pingOutput(one.container, "-Q", "0", "10.2.2.2")).toContain("1 received");
      expect([count(two.netns), count(two.container)]).toEqual([1, 1]);
    } finally {
      for (const netns of [two.netns, two.container])
        netns.exec("nft", ["delete", "table", "ip", "tulle-test"]);
    }
  });

  it("puts one IP packet into each datagram, and takes such from a peer", async () => {
    const answering = await answerEchoes(hand);
    try {
      for (let count = 0; count < 5; count++)
        expect(pingOutput(one.container, "10.2.3.2")).toContain("1 received");
      await vi.waitFor(() => expect(answering.packets).toHaveLength(5), 5_000);
    } finally {
      answering.stop();
    }
    const [packet = Buffer.alloc(20)] = answering.packets;
    expect(packet.readUInt16BE(2)).toBe(packet.length);
    expect(packet.readUInt8(0)).toBe(0x45);
    // The kernel forwards it to the device, and the tunnel is one hop more.
    expect(packet.readUInt8(8)).toBe(62);
    expect(checksum(packet.subarray(0, 20))).toBe(0);
    expect(checksum(packet.subarray(20))).toBe(0);
    expect([...packet.subarray(12, 20)]).toEqual([10, 2, 1, 2, 10, 2, 3, 2]);
  });

  it("answers probes of its peers in both families, as long as its MTU, and no probes of others", async () => {
    const answers: number[] = [];
    const probe = (family: 4 | 6, peer = "host-2") =>
      one.runner.probe(peer, family, MTU_BYTES, () => answers.push(family));
    const { receivedPackets } = one.runner.counts;
    for (const family of FAMILIES) probe(family);
    await vi.waitFor(() => expect([...answers].sort()).toEqual([4, 6]), 5_000);
    // Host 3 does not know probes, and host 9 does not exist.
    for (const peer of ["host-3", "host-9"]) probe(4, peer);
    expect(one.runner.counts.receivedPackets).toBe(receivedPackets);
    const stranger = plugIn(lan, 4);
    await expectCounted("strangers", stranger, encodeRequest("0011223344556677", 100));
    // An answer that nothing has asked for.
    const answer = encodeRequest("0011223344556677", 100);
    answer.writeUInt8(2, 6);
    sendRaw(hand, ONE, answer);
    probe(4);
    await vi.waitFor(() => expect(answers).toHaveLength(3), 5_000);
    expect(one.runner.counts.malformed).toBe(0);
    stranger.dispose();
  });

  it("drops what comes from an address that no peer has", async () => {
    const stranger = plugIn(lan, 4);
    await expectCounted("strangers", stranger, echoRequest("10.2.4.2", "10.2.1.2"), Buffer.from("hello"));
    stranger.dispose();
  });

  it("drops what a peer sends in another's name, or for another host", async () => {
    await expectCounted(
      "forged",
      hand,
      echoRequest("10.2.2.2", "10.2.1.2"),
      echoRequest("10.2.1.0", "10.2.1.2"),
      echoRequest("192.0.2.1", "10.2.1.2"),
      echoRequest("10.2.3.2", "10.2.2.2"),
      echoRequest("10.2.3.2", "192.168.77.2"),
    );
  });

  it("drops what is not an IP packet", async () => {
    const wrongChecksum = echoRequest("10.2.3.2", "10.2.1.2");
    wrongChecksum.writeUInt16BE(1, 10);
    const cut = echoRequest("10.2.3.2", "10.2.1.2").subarray(0, 40);
    const version5 = echoRequest("10.2.3.2", "10.2.1.2");
    version5[0] = 0x55;
    const empty = Buffer.alloc(0);
    await expectCounted("malformed", hand, wrongChecksum, cut, version5, empty, Buffer.from("hello"));
  });

  it("counts packets that the kernel does not send, and those with a lost congestion mark", async () => {
    const before = [one.runner.counts, two.runner.counts] as const;
    const load = (netns: TestNetns, hook: string, rule: string) => {
      const chain = `chain c { type filter hook ${hook} priority -300; ${rule}; }`;
      netns.exec("sh", ["-c", 'echo "$0" | nft -f -', `table ip tulle-test {\n${chain}\n}`]);
    };
    load(one.netns, "output", "udp dport 8285 drop");
    load(two.netns, "prerouting", "udp dport 8285 ip ecn set ce");
    try {
      expect(pingOutput(one.container, "10.2.2.2")).toContain("0 received");
      await vi.waitFor(() => expect(one.runner.traffic.dropped["send error"]).toBe(before[0].sendErrors + 1));
      one.netns.exec("nft", ["delete", "table", "ip", "tulle-test"]);
      expect(pingOutput(one.container, "10.2.2.2")).toContain("0 received");
      await vi.waitFor(() => expect(two.runner.traffic.dropped.congestion).toBe(before[1].congested + 1));
    } finally {
      for (const netns of [one.netns, two.netns])
        netns.exec("sh", ["-c", "nft delete table ip tulle-test 2>/dev/null || true"]);
    }
  });

  it("answers a packet whose hop limit ends at the tunnel", () => {
    const before = one.runner.counts;
    expect(pingOutput(one.container, "-t", "2", "10.2.2.2")).toContain(
      "From 10.2.1.0 icmp_seq=1 Time to live",
    );
    expect(pingOutput(one.container, "-t", "2", "fd00:2:0:2::2")).toContain(
      "From fd00:2:0:1:: icmp_seq=1 Time",
    );
    expect(one.runner.counts.icmpTimeExceeded).toBe(before.icmpTimeExceeded + 2);
  });

  it("answers a packet that no peer's subnet has", () => {
    const before = one.runner.counts;
    expect(pingOutput(one.container, "10.2.99.2")).toContain("From 10.2.1.0 icmp_seq=1 Destination Net");
    expect(pingOutput(one.container, "fd00:2:0:99::2")).toContain("From fd00:2:0:1:: icmp_seq=1 Destination");
    expect(one.runner.counts.icmpUnreachable).toBe(before.icmpUnreachable + 2);
  });

  it("has the kernel tell a sender the MTU", () => {
    one.netns.ip("link set box0 mtu 1500");
    one.container.ip("link set eth0 mtu 1500");
    try {
      const output = pingOutput(one.container, "-M", "do", "-s", "1445", "10.2.2.2");
      expect(output).toContain(`mtu = ${MTU_BYTES}`);
    } finally {
      one.container.ip(`link set eth0 mtu ${MTU_BYTES}`);
      one.netns.ip(`link set box0 mtu ${MTU_BYTES}`);
    }
  });

  it("follows the peers", async () => {
    const { subnets: own } = udpLease(1, { families: FAMILIES });
    one.runner.follow({ own, peers: peersOf([udpLease(3, { isTulle: false })]) });
    await vi.waitFor(() => expect(pingOutput(one.container, "10.2.2.2")).toContain("Destination Net"), 5_000);
    one.runner.follow({ own, peers: peersOf(leasesOfOne) });
    await vi.waitFor(() => expect(pingOutput(one.container, "10.2.2.2")).toContain("1 received"), 5_000);
  });

  it("carries the packets of some peers while the kernel carries those of others", async () => {
    const vxlan = (netns: TestNetns, number: number, peer: number) =>
      netns.ip(
        `link add vx0 type vxlan id 1 local 192.168.77.${number} remote 192.168.77.${peer} dev eth0 dstport 8472`,
        `address add 172.16.0.${number}/24 dev vx0`,
        "link set vx0 up",
      );
    vxlan(one.netns, 1, 3);
    vxlan(hand, 3, 1);
    // The longer prefix takes precedence over the network's route to the device.
    one.netns.ip("route add 10.2.3.0/24 via 172.16.0.3");
    hand.ip("address add 10.2.3.2/32 dev lo", "route add 10.2.1.0/24 via 172.16.0.1");
    const { subnets: own } = udpLease(1, { families: FAMILIES });
    one.runner.follow({ own, peers: peersOf([udpLease(2, { families: FAMILIES })]) });
    try {
      const before = one.runner.traffic;
      await vi.waitFor(() => expect(pingOutput(one.container, "10.2.3.2")).toContain("1 received"), 10_000);
      expect(one.runner.traffic).toEqual(before);
      expect(pingOutput(one.container, "10.2.2.2")).toContain("1 received");
      // Counted in another thread, after the packet has gone on.
      await vi.waitFor(() => {
        const { sent, received } = one.runner.traffic;
        expect(sent.packets).toBe(before.sent.packets + 1);
        expect(received.packets).toBe(before.received.packets + 1);
      });
    } finally {
      one.runner.follow({ own, peers: peersOf(leasesOfOne) });
      one.netns.ip("link delete vx0");
      hand.ip("link delete vx0", "address delete 10.2.3.2/32 dev lo");
    }
  });

  it("reports a device that another program holds, and takes it when it is free", async () => {
    await one.runner.stop();
    const release = holdDevice(one.netns);
    one = one.restarted(leasesOfOne);
    await problemOf(one, "another program, such as flanneld, holds flannel0; stop it");
    release();
    await flowing(one);
  });

  it("carries one family while the address of the other one is missing, and both when it is back", async () => {
    await one.runner.stop();
    one.netns.ip("address delete fd77::1/64 dev eth0");
    one = one.restarted(leasesOfOne);
    await flowing(one);
    expect(await ping(one.container, "10.2.2.2", 5)).toMatchObject({ lost: [] });
    one.netns.ip("address add fd77::1/64 dev eth0 nodad");
    await vi.waitFor(
      () => expect(pingOutput(one.container, "fd00:2:0:2::2")).toContain("1 received"),
      10_000,
    );
  });

  it("reports a port in use, and takes it when it is free", async () => {
    await one.runner.stop();
    const release = await holdPort(one.netns);
    one = one.restarted(leasesOfOne);
    await problemOf(one, "another program uses UDP port 8285; stop it, or set Backend.Port");
    release();
    await flowing(one);
  });

  it("reports a device that is gone, and goes on with the next", async () => {
    one.netns.ip("link delete flannel0");
    await problemOf(one, "the device is missing");
    makeDevice(one.netns, 1);
    await flowing(one);
    expect(await ping(one.container, "10.2.2.2", 5)).toMatchObject({ lost: [] });
  });

  it.each([
    ["lo", 5],
    ["flannel0", 6],
  ])("lets the process end while its thread waits, on %s", async (device, number) => {
    const path = await bundle("path-exit.ts");
    const netns = plugIn(lan, number);
    makeDevice(netns, number);
    try {
      const args = [`--net=${netns.path}`, process.execPath, path.path, fileURLToPath(program.url), device];
      const { status, stderr } = spawnSync("nsenter", args, { encoding: "utf8", timeout: 20_000 });
      expect(stderr).toContain("the daemon failed");
      expect(status).toBe(1);
    } finally {
      netns.dispose();
      path.dispose();
    }
  });

  it("goes on with another thread when one ends without closing its device and ports", async () => {
    const { path, dispose } = await bundle("path-dying.ts");
    const four = startUdpHost(lan, 4, pathToFileURL(path), []);
    try {
      await vi.waitFor(() => expect(existsSync(`${path}.died`)).toBe(true), 10_000);
      await vi.waitFor(() => expect(four.runner.problems).not.toEqual([]), { timeout: 10_000, interval: 1 });
      await flowing(four);
    } finally {
      await four.dispose();
      rmSync(`${path}.died`, { force: true });
      dispose();
    }
  });

  it("names the remedy where /dev/net/tun is missing", async () => {
    const probe = await bundle("tun-probe.ts");
    try {
      const hidden = 'mount -t tmpfs none /dev/net && exec "$0" "$1"';
      const args = ["--mount", "--net", "sh", "-c", hidden, process.execPath, probe.path];
      expect(execFileSync("unshare", args, { encoding: "utf8" })).toContain(
        "load the module tun (modprobe tun)",
      );
    } finally {
      probe.dispose();
    }
  });
});

/** Echo requests that the namespace's kernel has received. */
function readEchoes(netns: TestNetns): number {
  const [names = "", values = ""] = netns
    .exec("cat", ["/proc/net/snmp"])
    .split("\n")
    .filter((line) => line.startsWith("IcmpMsg:"));
  const index = names.split(" ").indexOf("InType8");
  return index < 0 ? 0 : Number(values.split(" ")[index]);
}
