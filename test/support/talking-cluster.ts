/** Hosts whose containers all talk to each other while the network changes its backend. */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { beforeAll, expect } from "vitest";
import type { Family } from "../../ipam/addresses/ip.ts";
import { type Container, type Host, type PingReport, ping, startPing, TULLE, useEtcdLab } from "./hosts.ts";
import { neighbourRefusals } from "./neighbour-refusals.ts";

export const HOSTS = [1, 2, 3] as const;
/** A program takes five to ten times as long in the guest. */
const IS_GUEST = process.env.TULLE_GUEST !== undefined;
export const WAIT = { timeout: IS_GUEST ? 180_000 : 30_000, interval: 100 };

/** Between the packets of one pair. */
const INTERVAL_MS = IS_GUEST ? 100 : 10;

const RANGES: Readonly<Record<Family, object>> = {
  4: { Network: "10.2.0.0/16" },
  6: { EnableIPv6: true, IPv6Network: "fd00:10:2::/48" },
};

export const config = (type: string, options: object = {}, families: readonly Family[] = [4]) =>
  Object.assign({ Backend: { Type: type, ...options } }, ...families.map((family) => RANGES[family]));

/** `BackendType` of a lease. */
const leaseType = (type: string): string => (type === "udp" ? "" : type);

/** Names of the devices that hosts have under each backend. */
const DEVICES: Readonly<Record<string, Readonly<Record<Family, string>> | null>> = {
  vxlan: { 4: "flannel.1", 6: "flannel-v6.1" },
  "host-gw": null,
  udp: { 4: "flannel0", 6: "flannel0" },
  wireguard: { 4: "flannel-wg", 6: "flannel-wg-v6" },
};

export type HostNumber = (typeof HOSTS)[number];

export interface PairReport extends PingReport {
  readonly from: HostNumber;
  readonly to: HostNumber;
  readonly family: Family;
  /** Neighbours that the kernel refused meanwhile, on the whole machine: packets to them are lost. */
  readonly refusedNeighbours: number;
}

/** For the body of a describe. */
export function useTalkingCluster(label: string, first: string, families: readonly Family[] = [4]) {
  const net = useEtcdLab(label, { hosts: HOSTS.length, config: config(first, {}, families), families });
  const containers = new Map<HostNumber, Container>();
  const pairs = families.flatMap((family) =>
    HOSTS.flatMap((from) => HOSTS.filter((to) => to !== from).map((to) => ({ from, to, family }))),
  );
  const address = ({ to, family }: (typeof pairs)[number]): string =>
    containers.get(to)?.addresses[family] ?? "";
  const netns = (number: HostNumber) => (containers.get(number) as Container).netns;
  const value = (host: Host): { BackendType?: string; OtherBackends?: readonly object[] } =>
    JSON.parse([...net.leases().values()].find((text) => text.includes(`"${host.address}"`)) ?? "{}");

  beforeAll(async () => {
    await net.startAll();
    for (const number of HOSTS) containers.set(number, net.host(number).addContainer());
  });

  return {
    net,
    value,
    putType: (type: string): void => net.putConfig(config(type, {}, families)),
    devicesOf(type: string): readonly string[] {
      const names = DEVICES[type];
      return names ? [...new Set(families.map((family) => names[family]))].sort() : [];
    },
    async untilConnected(): Promise<void> {
      for (const pair of pairs) {
        const lost = async () => (await ping(netns(pair.from), address(pair), 3)).lost;
        await expect.poll(lost, WAIT).toEqual([]);
      }
    },
    /** Runs `body` while every container pings every other one. */
    async whileTalking(body: () => Promise<void>): Promise<readonly PairReport[]> {
      const refusedBefore = neighbourRefusals();
      const running = pairs.map((pair) => ({
        ...pair,
        ping: startPing(netns(pair.from), address(pair), { intervalMs: INTERVAL_MS }),
      }));
      try {
        await body();
      } finally {
        // Stopped below in any case: a failed body must leave no ping behind.
        for (const one of running) Object.assign(one, { report: one.ping.stop() });
      }
      return await Promise.all(
        running.map(async (one) => ({
          from: one.from,
          to: one.to,
          family: one.family,
          refusedNeighbours: neighbourRefusals() - refusedBefore,
          ...(await (one as typeof one & { report: Promise<PingReport> }).report),
        })),
      );
    },
    async restart(number: HostNumber): Promise<void> {
      const { daemon } = net.host(number);
      await daemon.stop();
      await daemon.start(...net.flags);
    },
    /** Until the host's lease asks for this backend. */
    async untilServing(number: HostNumber, type: string): Promise<void> {
      await expect.poll(() => value(net.host(number)).BackendType ?? "", WAIT).toBe(leaseType(type));
    },
    /** Until no host has a former backend. */
    async untilAlone(): Promise<void> {
      for (const number of HOSTS) {
        const { daemon } = net.host(number);
        await daemon.until(({ network }) => network.formerBackends === undefined, "has one backend");
        await expect.poll(() => value(net.host(number)).OtherBackends, WAIT).toBeUndefined();
      }
    },
    migrate(): { readonly code: number | null; readonly out: string } {
      const command = [...TULLE, "net", "migrate", ...net.flags];
      const [program = "", ...args] = net.host(1).enter(...command);
      const { status, stdout } = spawnSync(program, args, { encoding: "utf8" });
      return { code: status, out: stdout };
    },
    devices: (number: HostNumber): readonly string[] =>
      net
        .host(number)
        .netns.ipJson(["link", "show"])
        .map(({ ifname }) => String(ifname))
        .filter((name) => name.startsWith("flannel"))
        .sort(),
  };
}

export type TalkingCluster = ReturnType<typeof useTalkingCluster>;

/**
 * Restarts the hosts one by one after a change of the configuration, and expects each state in between to be what it
 * is documented to be. Answers what became of the packets, from before the first restart until the former backend is gone.
 */
export async function changeHostByHost(
  cluster: TalkingCluster,
  from: string,
  to: string,
): Promise<readonly PairReport[]> {
  const { net } = cluster;
  cluster.putType(to);
  for (const number of HOSTS) {
    const isShown = (problems: readonly string[]) => problems.join().includes("changed Backend.Type");
    await net.host(number).daemon.until(({ problems }) => isShown(problems), "shows the change");
  }
  const reports = await cluster.whileTalking(async () => {
    for (const number of HOSTS) {
      expect(cluster.migrate().out).toContain(`${4 - number} of 3 hosts do not use ${to} yet`);
      await cluster.restart(number);
      await cluster.untilServing(number, to);
      await expectMixed(cluster, number, from, to);
    }
    await cluster.untilAlone();
  });
  expect(cluster.migrate()).toEqual({ code: 0, out: `all 3 hosts use ${to}\n` });
  for (const number of HOSTS) {
    await expect.poll(() => cluster.devices(number), WAIT).toEqual(cluster.devicesOf(to));
    expect(await net.host(number).daemon.status()).toMatchObject({ isReady: true, problems: [] });
  }
  return reports;
}

/** Hosts up to `number` have followed; when all have, the former backend may be gone at any moment. */
async function expectMixed(
  { net, devices, devicesOf }: TalkingCluster,
  number: HostNumber,
  from: string,
  to: string,
): Promise<void> {
  const behind = HOSTS.length - number;
  const status = await net.host(number).daemon.until(({ peers, isReady, network }) => {
    const byFormer = peers.filter(({ formerBackend }) => formerBackend === from);
    return isReady && network.backend === to && peers.length === 2 && byFormer.length === behind;
  }, `has ${to}, and ${behind} peers by ${from}`);
  expect(status.refused).toEqual([]);
  if (behind === 0) return;
  expect(status.network.formerBackends).toEqual([from]);
  expect(devices(number)).toEqual([...devicesOf(from), ...devicesOf(to)].sort());
  for (const other of HOSTS.slice(number)) {
    const { daemon } = net.host(other);
    await daemon.until(({ peers, isReady }) => isReady && peers.length === 2, "keeps both peers");
  }
}

/** One part of a sentence for each pair that lost packets. */
export const lostOf = (reports: readonly PairReport[]): readonly string[] =>
  reports
    .filter(({ lost }) => lost.length > 0)
    .map(({ from, to, family, sent, lost, refusedNeighbours }) => {
      const cause =
        refusedNeighbours === 0
          ? ""
          : `; another suite filled the machine's table of neighbours (${refusedNeighbours} refused): run this one alone`;
      return `${from} to ${to} by IPv${family}: ${lost.length} of ${sent} (${lost.slice(0, 5).join(", ")})${cause}`;
    });

/** Expects that no pair lost packets. */
export function expectNoneLost(reports: readonly PairReport[]): void {
  expect(lostOf(reports)).toEqual([]);
}
