/**
 * The fall-back: packets leave a tunnel that a filter kills within three seconds, and return to it without a loss.
 *
 * Packets are counted at 100 a second, from container to container.
 */

import process from "node:process";
import { afterEach, beforeAll, expect, it } from "vitest";
import {
  type Container,
  describeWithEtcd,
  type EtcdLab,
  type Host,
  type PingReport,
  ping,
  startPing,
  TULLE,
  useEtcdLab,
} from "../support/hosts.ts";

const RANGES = { Network: "10.2.0.0/16", EnableIPv6: true, IPv6Network: "fd00:2::/48" };
const FLAG = "--fallback=udp";
/** Three seconds of packets. */
const MOST_LOST = 300;
const MOST_IN_FLIGHT = 20;
const TUNNEL = "udp dport 8472";
const FALLBACK = "udp dport 8285";
/** A return takes half a minute of proof, a second one within a minute waits for the end of it. */
const LONG = { timeout: 150_000 };

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

class Filters {
  readonly #hosts = new Set<Host>();

  drop(host: Host, hook: "input" | "output" | "prerouting", match: string): void {
    const nft = (...args: string[]) => host.netns.exec("nft", args);
    nft("add", "table", "inet", "fault");
    nft("add", "chain", "inet", "fault", hook, `{ type filter hook ${hook} priority -500; }`);
    nft("add", "rule", "inet", "fault", hook, `${match} drop`);
    this.#hosts.add(host);
  }

  clear(): void {
    for (const host of this.#hosts) host.netns.exec("nft", ["delete", "table", "inet", "fault"]);
    this.#hosts.clear();
  }
}

function boxOf(host: Host): Container {
  const [box] = host.containers;
  if (box === undefined) throw new Error("no container");
  return box;
}

async function keyOf(host: Host): Promise<string> {
  const status = await host.daemon.status();
  if (status === null) throw new Error(`${host.name} has no status`);
  return status.lease.key;
}

/** Waits until packets of `host` to `peer` go that way. */
async function until(host: Host, peer: Host, path: string): Promise<void> {
  const peerKey = await keyOf(peer);
  const pathNow = async () => (await host.daemon.status())?.peers.find(({ key }) => key === peerKey)?.path;
  await expect.poll(pathNow, { timeout: 110_000, interval: 50 }).toBe(path);
}

const untilProven = (host: Host) =>
  host.daemon.until(
    ({ peers }) => peers.length > 0 && peers.every(({ health }) => health?.state === "good"),
    "has an answer of each peer",
  );

/** Pings in all families until it is stopped. */
function watch(from: Host, to: Host) {
  const pings = Object.values(boxOf(to).addresses).map((address) => startPing(boxOf(from).netns, address));
  return { stop: async () => (await Promise.all(pings.map((each) => each.stop()))).map(withoutLast) };
}

/** On a busy machine more than one packet is on its way when a ping is stopped. */
function withoutLast({ sent, lost, roundTripMs }: PingReport): PingReport {
  let end = sent;
  while (end > sent - MOST_IN_FLIGHT && lost.includes(end)) end -= 1;
  return { sent: end, lost: lost.filter((sequence) => sequence <= end), roundTripMs };
}

async function expectOutage(running: ReturnType<typeof watch>): Promise<void> {
  for (const { lost } of await running.stop()) {
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.length).toBeLessThanOrEqual(MOST_LOST);
  }
}

async function expectNoLoss(running: ReturnType<typeof watch>): Promise<void> {
  for (const { lost, sent } of await running.stop())
    expect({ lost, sent: sent > 0 }).toEqual({ lost: [], sent: true });
}

const moves = (host: Host) => host.daemon.log.split("packets go by the fall-back").length - 1;
const returns = (host: Host) => host.daemon.log.split("go through the tunnel again").length - 1;

async function startWithContainers(net: EtcdLab, ...flags: readonly string[]): Promise<void> {
  await net.startAll(...flags);
  for (const host of net.lab.hosts) host.addContainer();
  for (const host of net.lab.hosts) await untilProven(host);
}

describeWithEtcd("a fall-back beside VXLAN", () => {
  const net = useEtcdLab("fallback", {
    hosts: 3,
    config: { ...RANGES, Backend: { Type: "vxlan" } },
    families: [4, 6],
  });
  const filters = new Filters();

  beforeAll(async () => {
    const [one, two, plain] = [net.host(1), net.host(2), net.host(3)];
    await Promise.all([
      ...[one, two].map((host) => host.daemon.start(...net.flags, FLAG, "--healthz-port=9191")),
      plain.daemon.start(...net.flags),
    ]);
    for (const host of net.lab.hosts) host.addContainer();
    for (const host of net.lab.hosts) await untilProven(host);
  });
  afterEach(() => filters.clear());

  it("keeps its device and its offer out of the way of hosts without it", async () => {
    const [one, plain] = [net.host(1), net.host(3)];
    expect(one.netns.exec("ip", ["-o", "route", "show", "dev", "flannel0"])).toBe("");
    expect((await ping(boxOf(plain).netns, boxOf(one).address, 20)).lost).toEqual([]);
    const status = await plain.daemon.status();
    expect(status?.devices.map(({ name }) => name)).toEqual(["flannel.1", "flannel-v6.1"]);
  });

  it("carries packets while the tunnel is filtered, over a restart, and gives them back", LONG, async () => {
    const [one, two, plain] = [net.host(1), net.host(2), net.host(3)];
    const outage = watch(one, two);
    await pause(1_000);
    for (const hook of ["input", "output"] as const) filters.drop(two, hook, TUNNEL);
    for (const [host, peer] of [
      [one, two],
      [two, one],
    ] as const)
      await until(host, peer, "fallback");
    await pause(500);
    await expectOutage(outage);

    const steady = watch(one, two);
    const large = await ping(boxOf(one).netns, boxOf(two).address, 20, { payloadBytes: 1430 - 28 });
    expect(large.lost).toEqual([]);
    await expectNoLoss(steady);
    await expectShown(one, await keyOf(two));
    // Neither of them moves packets to a host without a fall-back, whose tunnel to the second host fails as well.
    expect((await two.daemon.status())?.peers.find(({ path }) => path === "tunnel")?.key).toBe(
      await keyOf(plain),
    );

    // "linkdown" while no daemon has the device open.
    const routes = () =>
      one.netns.exec("ip", ["-o", "route", "show", "dev", "flannel0"]).replace(/ linkdown *\n/, " \n");
    const before = routes();
    const restart = watch(one, two);
    await one.daemon.stop();
    expect(routes()).toBe(before);
    await one.daemon.start(...net.flags, FLAG, "--healthz-port=9191");
    expect(routes()).toBe(before);
    await until(one, two, "fallback");
    await expect
      .poll(async () => (await ping(boxOf(one).netns, boxOf(two).address, 5)).lost, { timeout: 10_000 })
      .toEqual([]);
    // Packets are lost between the end of one data path and the start of the next only: one gap.
    for (const { lost } of await restart.stop())
      expect(lost).toEqual(lost.map((_, index) => (lost[0] ?? 0) + index));
    await expectNoLoss({ stop: async () => [await ping(boxOf(one).netns, boxOf(two).address, 200)] });

    const back = watch(one, two);
    filters.clear();
    for (const [host, peer] of [
      [one, two],
      [two, one],
    ] as const)
      await until(host, peer, "tunnel");
    await pause(500);
    await expectNoLoss(back);
    expect(one.netns.exec("ip", ["-o", "route", "show", "dev", "flannel0"])).toBe("");
    expect(one.netns.exec("ip", ["-o", "route", "show", "metric", "8192"])).toBe("");
  });

  it("stays on the tunnel where the fall-back is filtered too, and says so", LONG, async () => {
    const [one, two] = [net.host(1), net.host(2)];
    const before = moves(one);
    filters.drop(two, "input", FALLBACK);
    filters.drop(two, "input", TUNNEL);
    await one.daemon.until(
      ({ problems }) => problems.some((text) => /answers neither .* nor by the fall-back/.test(text)),
      "says that nothing answers",
    );
    filters.clear();
    await expect
      .poll(async () => (await ping(boxOf(one).netns, boxOf(two).address, 5)).lost, { timeout: 10_000 })
      .toEqual([]);
    await pause(3_000);
    // Both work again at once, and the fall-back's answer may come first.
    expect(moves(one)).toBe(before);
    await until(one, two, "tunnel");
  });

  it("moves packets once where a filter comes and goes", LONG, async () => {
    const [one, two] = [net.host(1), net.host(2)];
    const before = [moves(one), returns(one)];
    for (let count = 0; count < 7; count++) {
      filters.drop(two, "input", TUNNEL);
      await pause(3_500);
      filters.clear();
      await pause(3_500);
    }
    // One for each family.
    expect([moves(one), returns(one)]).toEqual([(before[0] ?? 0) + 2, before[1]]);
    await until(one, two, "fallback");
  });

  async function expectShown(host: Host, peerKey: string): Promise<void> {
    const status = await host.daemon.status();
    const peer = status?.peers.find(({ key }) => key === peerKey);
    expect(peer).toMatchObject({ path: "fallback", fallback: { seconds: expect.any(Number) } });
    expect(status?.problems).toContainEqual(
      expect.stringMatching(
        /packets to peer .* have gone by the fall-back for .* because the tunnel to it fails/,
      ),
    );
    expect(status?.isReady).toBe(true);
    const tulle = (...args: string[]) => host.run(...TULLE, ...args);
    expect(tulle("status")).toMatch(/1 by the fall-back/);
    expect(tulle("events")).toMatch(/the tunnel to a peer fails; packets go by the fall-back/);
    const script =
      "fetch('http://127.0.0.1:9191/metrics').then((a) => a.text()).then((t) => process.stdout.write(t))";
    const metrics = host.netns.exec(process.execPath, ["--eval", script]);
    expect(metrics).toMatch(/^tulle_fallback_peers 1$/m);
    expect(metrics).toMatch(/^tulle_fallback_moves_total\{to="fallback"\} 2$/m);
  }
});

describeWithEtcd("a fall-back where one direction fails", () => {
  const net = useEtcdLab("fallback1", {
    hosts: 2,
    config: { ...RANGES, Backend: { Type: "vxlan" } },
    families: [4, 6],
  });
  const filters = new Filters();

  beforeAll(async () => {
    for (const { netns } of net.lab.hosts)
      for (const name of ["all", "default", "eth0"])
        netns.exec("sysctl", ["-qw", `net.ipv4.conf.${name}.rp_filter=1`]);
    await startWithContainers(
      net,
      FLAG,
      "--tunnel-sources=peers",
      "--container-sources=strict",
      "--open-port",
    );
  });
  afterEach(() => filters.clear());

  it("leads each direction its own way, with strict checks of sources", LONG, async () => {
    const [one, two] = [net.host(1), net.host(2)];
    for (const { netns } of [one, two]) {
      netns.exec("iptables", ["-A", "INPUT", "-p", "udp", "--dport", "8285", "-j", "DROP"]);
    }
    const outage = watch(one, two);
    await pause(1_000);
    filters.drop(two, "input", TUNNEL);
    await until(one, two, "fallback");
    await pause(500);
    await expectOutage(outage);

    const steady = [watch(one, two), watch(two, one)];
    await until(two, one, "tunnel");
    await pause(1_000);
    await until(one, two, "fallback");
    for (const each of steady) await expectNoLoss(each);

    const back = watch(one, two);
    filters.clear();
    await until(one, two, "tunnel");
    await pause(500);
    await expectNoLoss(back);
  });
});

describeWithEtcd("a fall-back beside direct routes of both families", () => {
  const net = useEtcdLab("fallback5", {
    hosts: 2,
    config: { ...RANGES, Backend: { Type: "vxlan", DirectRouting: true } },
    families: [4, 6],
  });
  const filters = new Filters();

  beforeAll(() => startWithContainers(net, FLAG));
  afterEach(() => filters.clear());

  it("carries IPv6 where a switch drops that of containers, and doubts no route of IPv4", async () => {
    const [one, two] = [net.host(1), net.host(2)];
    filters.drop(two, "prerouting", "iifname eth0 ip6 saddr fd00:2::/48");
    await until(one, two, "fallback");
    await pause(500);
    expect((await ping(boxOf(one).netns, boxOf(two).addresses[6] ?? "", 50)).lost).toEqual([]);
    for (const host of [one, two]) {
      expect(host.netns.exec("ip", ["-o", "route", "show", "dev", "flannel0"])).toBe("");
      const { problems } = (await host.daemon.status()) ?? { problems: [] };
      expect(problems.filter((text) => !/ by the fall-back | of the last \d+ packets/.test(text))).toEqual(
        [],
      );
    }
  });
});

describeWithEtcd("a fall-back beside host-gw", () => {
  const net = useEtcdLab("fallback2", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", Backend: { Type: "host-gw" } },
  });
  const filters = new Filters();

  beforeAll(() => startWithContainers(net, FLAG));
  afterEach(() => filters.clear());

  it("carries packets where a switch drops those of containers", LONG, async () => {
    const [one, two] = [net.host(1), net.host(2)];
    expect(one.subnetEnv().mtuBytes).toBe(1472);
    const outage = watch(one, two);
    await pause(1_000);
    filters.drop(two, "prerouting", "iifname eth0 ip saddr 10.2.0.0/16");
    await until(one, two, "fallback");
    await pause(500);
    await expectOutage(outage);
    expect((await ping(boxOf(one).netns, boxOf(two).address, 20, { payloadBytes: 1444 })).lost).toEqual([]);
    expectPathMtuError(one, boxOf(two).address);
    const back = watch(one, two);
    filters.clear();
    await until(one, two, "direct");
    await pause(500);
    await expectNoLoss(back);
  });
});

/** A container that was started before the flag was set has the interface's MTU, and is told of the smaller one. */
function expectPathMtuError(host: Host, address: string): void {
  for (const name of ["docker0", "veth1"]) host.netns.exec("ip", ["link", "set", name, "mtu", "1500"]);
  const { netns } = boxOf(host);
  netns.exec("ip", ["link", "set", "eth0", "mtu", "1500"]);
  const output = netns.exec("sh", ["-c", `ping -n -c 2 -W 1 -M do -s 1472 ${address} || true`]);
  expect(output).toMatch(/Frag needed and DF set \(mtu = 1472\)/);
}

describeWithEtcd("a fall-back in a network that had the backend udp", () => {
  const net = useEtcdLab("fallback4", {
    hosts: 1,
    config: { Network: "10.2.0.0/16", Backend: { Type: "udp" } },
  });

  it("takes that backend's place when no host needs it, and goes with its flag", LONG, async () => {
    const { daemon, netns } = net.host(1);
    const devices = () => netns.exec("ip", ["-o", "link", "show", "type", "tun"]);
    const networkRoute = () => netns.exec("ip", ["-o", "route", "show", "10.2.0.0/16"]);
    await daemon.start(...net.flags);
    expect(networkRoute()).toContain("flannel0");
    net.putConfig({ Network: "10.2.0.0/16", Backend: { Type: "vxlan" } });
    await daemon.stop();
    await daemon.start(...net.flags, FLAG);
    await daemon.until(({ network }) => network.formerBackends === undefined, "has no former backend");
    await expect.poll(() => [...net.leases().values()][0], { timeout: 20_000 }).toContain("OtherBackends");
    await expect.poll(devices, { timeout: 20_000 }).toContain("flannel0");
    await expect.poll(networkRoute, { timeout: 20_000 }).toBe("");
    await daemon.stop();
    await daemon.start(...net.flags);
    await expect.poll(devices, { timeout: 20_000 }).toBe("");
    expect([...net.leases().values()][0]).not.toContain("OtherBackends");
  });
});

describeWithEtcd("a fall-back beside WireGuard", () => {
  const net = useEtcdLab("fallback3", {
    hosts: 1,
    config: { Network: "10.2.0.0/16", Backend: { Type: "wireguard" } },
  });

  it("is rejected, because it does not encrypt", async () => {
    const { daemon } = net.host(1);
    await expect(daemon.start(...net.flags, FLAG)).rejects.toThrow(
      /--fallback udp: the network's backend wireguard encrypts, and packets of the fall-back are not encrypted; remove --fallback/,
    );
  });
});
