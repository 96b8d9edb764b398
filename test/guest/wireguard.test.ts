/** Hosts over WireGuard with real packets: ours, and one that was set up by hand as flanneld does it. */

import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { FlannelWireguard } from "../support/flannel-tunnel.ts";
import { describeInGuest, loadModule, lostBefore } from "../support/guest.ts";
import { type Container, type Host, ping, startPing, useEtcdLab } from "../support/hosts.ts";
import { whileHeld } from "../support/port-holder.ts";

const NETWORK = { Network: "10.2.0.0/16", SubnetMax: "10.2.199.0", Backend: { Type: "wireguard" } };
/** Of flannel-wg, in bytes; an ICMP echo has 28 bytes of headers. */
const MTU = 1420;

/** A line of `wg show flannel-wg dump` for a peer. */
interface ShownPeer {
  readonly publicKey: string;
  readonly endpoint: string;
  readonly allowed: string;
  /** Bytes; they begin at 0 again when a peer is made again. */
  readonly received: number;
}

describeInGuest("a network over WireGuard", () => {
  const net = useEtcdLab("wg", { hosts: 3, config: NETWORK });
  let flannel: FlannelWireguard;
  let boxes: [Container, Container, Container];

  const wg = (host: Host, ...args: readonly string[]): string => host.netns.exec("wg", args).trim();
  const dump = (host: Host): readonly string[][] =>
    wg(host, "show", "flannel-wg", "dump")
      .split("\n")
      .map((line) => line.split("\t"));
  const peersOf = (host: Host): readonly ShownPeer[] =>
    dump(host)
      .slice(1)
      .map(([publicKey = "", , endpoint = "", allowed = "", , received]) => ({
        publicKey,
        endpoint,
        allowed,
        received: Number(received),
      }));
  const publicKeyOf = (host: Host): string => dump(host)[0]?.[1] ?? "";
  const subnetOf = (host: Host): string =>
    `${host.subnetEnv().subnets[4]?.address.toString().replace(/1$/, "0")}/24`;
  const knowsPeers =
    (count: number) => (status: { peers: readonly object[]; kernel: { isConverged: boolean } }) =>
      status.peers.length === count && status.kernel.isConverged;

  beforeAll(async () => {
    loadModule("wireguard");
    await net.host(1).daemon.start(...net.flags);
    flannel = new FlannelWireguard(net, net.host(3), "10.2.99.0");
    flannel.join();
    await net.host(2).daemon.start(...net.flags);
    flannel.learnPeers();
    boxes = net.lab.hosts.map((host) => host.addContainer()) as [Container, Container, Container];
    for (const number of [1, 2]) await net.host(number).daemon.until(knowsPeers(2), "knows both peers");
  });

  it("carries full packets between all containers, ours and flannel's", async () => {
    for (const from of boxes) {
      for (const to of boxes.filter((box) => box !== from)) {
        // The first packet waits for a handshake, in the guest for seconds.
        const lost = async () => (await ping(from.netns, to.address, 3, { payloadBytes: MTU - 28 })).lost;
        await expect.poll(lost, { timeout: 30_000, message: `${from.name} to ${to.name}` }).toEqual([]);
      }
    }
  });

  it("has flannel's device, address, route, peers and lease", () => {
    const [one, two] = [net.host(1), net.host(2)];
    const [link] = one.netns.ipJson(["-d", "link", "show", "flannel-wg"]) as [Record<string, unknown>];
    expect(link).toMatchObject({ mtu: MTU, linkinfo: { info_kind: "wireguard" } });
    expect(one.run("ip", "-4", "-o", "address", "show", "flannel-wg")).toContain(
      subnetOf(one).replace("/24", "/32"),
    );
    expect(one.run("ip", "route", "show", "dev", "flannel-wg").trim()).toBe(
      "10.2.0.0/16 proto 116 scope link",
    );
    expect(wg(one, "show", "flannel-wg", "listen-port")).toBe("51820");
    const expected = [
      [publicKeyOf(two), `${two.address}:51820`, subnetOf(two)],
      [flannel.publicKey, `${net.host(3).address}:51820`, "10.2.99.0/24"],
    ];
    const shown = peersOf(one).map(({ publicKey, endpoint, allowed }) => [publicKey, endpoint, allowed]);
    expect(shown.sort()).toEqual(expected.sort());
    const value = net.leases().get(subnetOf(one).replace("/", "-"));
    expect(JSON.parse(value ?? "{}")).toMatchObject({
      PublicIP: one.address,
      BackendType: "wireguard",
      BackendData: { PublicKey: publicKeyOf(one), Port: 51820 },
    });
  });

  it("keeps its private key for itself", () => {
    const { stateDirectory, daemon, netns } = net.host(1);
    const file = join(stateDirectory, "wireguard.key");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const key = readFileSync(file, "utf8").trim();
    expect(netns.exec("sh", ["-c", `echo ${key} | wg pubkey`]).trim()).toBe(publicKeyOf(net.host(1)));
    expect(daemon.log).not.toContain(key);
  });

  it("keeps device, key, sessions and every packet when the agent restarts", async () => {
    const { netns, daemon } = net.host(1);
    const device = () => netns.ipJson(["link", "show", "flannel-wg"])[0]?.ifindex;
    const before = [device(), publicKeyOf(net.host(1)), peersOf(net.host(1))];
    const running = startPing(boxes[0].netns, boxes[1].address);
    try {
      expect(await daemon.stop()).toBe(0);
      await daemon.start(...net.flags);
      await daemon.kill();
      await daemon.start(...net.flags);
    } finally {
      const report = await running.stop();
      expect(lostBefore(report)).toEqual([]);
      expect(report.sent).toBeGreaterThan(30);
    }
    const after = peersOf(net.host(1));
    expect([device(), publicKeyOf(net.host(1))]).toEqual(before.slice(0, 2));
    const withoutBytes = (peers: readonly ShownPeer[]) => peers.map(({ received: _, ...rest }) => rest);
    expect(withoutBytes(after)).toEqual(withoutBytes(before[2] as readonly ShownPeer[]));
  });

  it("tells handshake and bytes of each peer", async () => {
    const status = await net.host(1).daemon.status();
    for (const peer of status?.peers ?? []) {
      expect(peer.details?.handshakeAgeSeconds).toBeLessThan(600);
      expect(peer.details?.receivedBytes).toBeGreaterThan(0);
      expect(peer.details?.sentBytes).toBeGreaterThan(0);
    }
    expect(status?.peers).toHaveLength(2);
  });

  it("replaces a peer that changed its key, and nothing of the others", async () => {
    const [one, two] = [net.host(1), net.host(2)];
    const old = flannel.publicKey;
    const other = peersOf(one).find(({ publicKey }) => publicKey === publicKeyOf(two));
    flannel.changeKey();
    for (const { daemon } of [one, two])
      await daemon.until(
        () =>
          peersOf(one)
            .concat(peersOf(two))
            .every(({ publicKey }) => publicKey !== old),
        "drops the old key",
      );
    expect(peersOf(one).find(({ allowed }) => allowed === "10.2.99.0/24")?.publicKey).toBe(flannel.publicKey);
    const kept = peersOf(one).find(({ publicKey }) => publicKey === publicKeyOf(two));
    expect(kept?.received).toBeGreaterThanOrEqual(other?.received ?? Number.NaN);
    expect((await ping(boxes[0].netns, boxes[2].address, 3)).lost).toEqual([]);
  });

  it.each([
    ["is not one", (_: string) => ({ PublicKey: "certainly not a key" }), /holds no PublicKey/],
    [
      "is this host's own",
      (own: string) => ({ PublicKey: own, Port: 51820 }),
      /public key .* is (this host's own|also that of lease)/,
    ],
    [
      "is another peer's",
      () => ({ PublicKey: publicKeyOf(net.host(2)) }),
      /public key .* also that of lease/,
    ],
  ])("rejects a lease whose public key %s, and touches no other peer", async (_what, dataFor, reason) => {
    const [host, key] = [net.host(1), "10.2.250.0-24"];
    const running = startPing(boxes[0].netns, boxes[1].address);
    const before = peersOf(host).map(({ received: _, ...rest }) => rest);
    try {
      const BackendData = dataFor(publicKeyOf(host));
      const value = { PublicIP: "192.168.50.250", PublicIPv6: null, BackendType: "wireguard", BackendData };
      net.put(`subnets/${key}`, JSON.stringify(value));
      const { refused } = await host.daemon.until((status) => status.refused.length > 0, "rejects it");
      expect(refused).toMatchObject([{ key, reason: expect.stringMatching(reason) }]);
      expect(peersOf(host).map(({ received: _, ...rest }) => rest)).toEqual(before);
      net.delete(`subnets/${key}`);
      await host.daemon.until((status) => status.refused.length === 0, "forgets it");
    } finally {
      expect(lostBefore(await running.stop())).toEqual([]);
    }
    expect(peersOf(host).map(({ received: _, ...rest }) => rest)).toEqual(before);
  });

  it("sends nothing in the clear for a peer without a key, nor without its device", async () => {
    const { netns, daemon } = net.host(1);
    // All that leaves by eth0 with an address of the network inside it in the clear.
    netns.exec("nft", [
      "add table ip clear; add chain ip clear out { type filter hook postrouting priority 300; }; " +
        'add rule ip clear out oifname "eth0" ip daddr 10.2.0.0/16 counter',
    ]);
    const leaked = (): number =>
      Number(/packets (\d+)/.exec(netns.exec("nft", ["list", "chain", "ip", "clear", "out"]))?.[1]);
    expect((await ping(boxes[0].netns, "10.2.123.4", 3)).lost).toHaveLength(3);
    expect(leaked()).toBe(0);
    await daemon.kill();
    netns.ip("link del flannel-wg");
    expect((await ping(boxes[0].netns, boxes[1].address, 3)).lost).toHaveLength(3);
    expect(leaked()).toBe(0);
    // Without the routes the same packets leave: the counter works.
    netns.ip("route del blackhole 10.2.0.0/16 metric 4294967295");
    await ping(boxes[0].netns, boxes[1].address, 3);
    expect(leaked()).toBeGreaterThan(0);
    netns.exec("nft", ["delete table ip clear"]);
    await daemon.start(...net.flags);
    const lost = async () => (await ping(boxes[0].netns, boxes[1].address, 3)).lost;
    await expect.poll(lost, { timeout: 30_000 }).toEqual([]);
  });

  it("repairs within seconds what others change on the device, and leaves the session of the other peer", async () => {
    const [one, two] = [net.host(1), net.host(2)];
    const lines = () => dump(one).map(([key, ...rest]) => [key, ...rest.slice(0, 3), rest.at(-1)].join(" "));
    const before = lines().sort();
    const session = () => peersOf(one).find(({ publicKey }) => publicKey === publicKeyOf(two))?.received;
    const received = session();
    const peer = `wg set flannel-wg peer ${flannel.publicKey}`;
    for (const command of [
      `${peer} remove`,
      `${peer} allowed-ips 10.9.9.0/24`,
      `wg set flannel-wg peer $(wg genpsk) allowed-ips 10.2.99.0/24`,
      "wg set flannel-wg listen-port 9",
    ]) {
      one.netns.exec("sh", ["-c", command]);
      await expect.poll(() => lines().sort(), { timeout: 30_000, message: command }).toEqual(before);
    }
    expect(session()).toBeGreaterThanOrEqual(received ?? Number.NaN);
    const otherKey = join(net.lab.directory, "other.key");
    writeFileSync(otherKey, wg(one, "genkey"));
    wg(one, "set", "flannel-wg", "private-key", otherKey);
    await expect.poll(() => lines().sort(), { timeout: 30_000, message: "key" }).toEqual(before);
    for (const box of boxes.slice(1)) {
      const lost = async () => (await ping(boxes[0].netns, box.address, 3)).lost;
      await expect.poll(lost, { timeout: 30_000, message: box.name }).toEqual([]);
    }
    await one.daemon.until(({ problems }) => problems.length === 0, "has no problem left");
  });

  it("names a PSK that a peer does not share", { timeout: 300_000 }, async () => {
    const [one, three] = [net.host(1), net.host(3)];
    const { publicKey } = flannel;
    const cause = async () => {
      const status = await one.daemon.status();
      return status?.peers.find(({ key }) => key === "10.2.99.0-24")?.health?.cause?.code;
    };
    const own = `wg set flannel-wg peer ${publicKeyOf(one)}`;
    // Neither side has a session that would go on for minutes.
    three.netns.exec("sh", ["-c", `${own} remove`]);
    flannel.learnPeers();
    three.netns.exec("sh", ["-c", `wg genpsk | ${own} preshared-key /dev/stdin`]);
    wg(one, "set", "flannel-wg", "peer", publicKey, "remove");
    await expect.poll(cause, { timeout: 120_000, interval: 1_000 }).toBe("tunnel-mismatch");
    three.netns.exec("sh", ["-c", `${own} preshared-key /dev/null`]);
    await expect.poll(cause, { timeout: 120_000, interval: 1_000 }).toBeUndefined();
  });

  it("names another program that holds its port, and takes the port once it is free", async () => {
    const { netns, daemon } = net.host(1);
    await daemon.stop();
    netns.ip("link del flannel-wg");
    await whileHeld(net.host(1), 51820, async () => {
      daemon.spawn(...net.flags);
      const isNamed = (text: string) => text.includes("another program or device holds UDP port 51820");
      await daemon.until(({ problems }) => problems.some(isNamed), "names the port");
    });
    await daemon.until(({ isReady, problems }) => isReady && problems.length === 0, "is ready");
    expect(wg(net.host(1), "show", "flannel-wg", "listen-port")).toBe("51820");
    const lost = async () => (await ping(boxes[0].netns, boxes[1].address, 3)).lost;
    await expect.poll(lost, { timeout: 30_000 }).toEqual([]);
  });

  it("leaves the endpoint of a peer that roamed alone", async () => {
    const [one, two] = [net.host(1), net.host(2)];
    // Its agent would set the port back.
    await two.daemon.stop();
    const seen = () => peersOf(one).find(({ publicKey }) => publicKey === publicKeyOf(two));
    two.netns.exec("wg", ["set", "flannel-wg", "listen-port", "40000"]);
    expect((await ping(boxes[1].netns, boxes[0].address, 3)).lost).toEqual([]);
    expect(seen()?.endpoint).toBe(`${two.address}:40000`);
    wg(one, "set", "flannel-wg", "peer", flannel.publicKey, "remove");
    await one.daemon.stop();
    await one.daemon.start(...net.flags);
    await one.daemon.until(knowsPeers(2), "knows both peers");
    expect(seen()?.endpoint).toBe(`${two.address}:40000`);
    expect(peersOf(one).map(({ publicKey }) => publicKey)).toContain(flannel.publicKey);
    await two.daemon.start(...net.flags);
    expect(wg(two, "show", "flannel-wg", "listen-port")).toBe("51820");
  });

  it("takes over flanneld's key, device and peers, and keeps them", async () => {
    const host = net.host(3);
    const key = join(host.runDirectory, "flannel/wgkey");
    writeFileSync(key, flannel.privateKey, { mode: 0o400 });
    const running = startPing(boxes[0].netns, boxes[2].address);
    try {
      await host.daemon.start(...net.flags);
      await host.daemon.until(knowsPeers(2), "knows both peers");
    } finally {
      expect(lostBefore(await running.stop())).toEqual([]);
    }
    expect(publicKeyOf(host)).toBe(flannel.publicKey);
    expect(host.run("ip", "route", "show", "dev", "flannel-wg").trim()).toBe(
      "10.2.0.0/16 proto 116 scope link",
    );
    rmSync(key);
    await host.daemon.stop();
    await host.daemon.start(...net.flags);
    expect(publicKeyOf(host)).toBe(flannel.publicKey);
  });
});
