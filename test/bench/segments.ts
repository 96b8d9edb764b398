/**
 * Named networks: how long it takes to program thousands of remote members, what one more costs, how soon damage is
 * repaired, and the throughput between containers beside that of the flat overlay, in alternation. Needs iperf3.
 */

import { spawn } from "node:child_process";
import { Address } from "../../ipam/addresses/ip.ts";
import type { HostMembers, Member, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { Lab } from "../support/hosts.ts";
import {
  createLan,
  hostId,
  reaches,
  SegmentLabHost,
  TestFeed,
  testMember,
  testNetwork,
} from "../support/segment-lab.ts";
import { measurePackets, measureTcpMbits, overlayByTulled, SMALL_BYTES } from "./support/overlays.ts";
import type { Bench, Report } from "./support/report.ts";

const HOSTS = 50;

export const bench: Bench = async (report, { isQuick }) => {
  const scale = isQuick ? 50 : 1;
  await programming(report, 1, 5000 / scale, isQuick ? 1 : 5);
  await programming(report, isQuick ? 10 : 100, 10_000 / scale, isQuick ? 1 : 5);
  await throughput(report, isQuick ? 1 : 15);
};

/** `count` members of other hosts, spread over networks and hosts; this host has one in each network. */
async function programming(
  report: Report,
  networkCount: number,
  count: number,
  rounds: number,
): Promise<void> {
  const title = `${count} remote members in ${networkCount} networks`;
  const programmed: number[] = [];
  const audits: number[] = [];
  const changes: number[] = [];
  const repairs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const feed = filledFeed(networkCount, count);
    const host = new SegmentLabHost({ n: 1, feed }).start();
    try {
      await host.settled();
      const startMs = performance.now();
      publishOwn(feed, networkCount);
      await host.settled();
      programmed.push(performance.now() - startMs);
      for (let n = 0; n < 20; n++) changes.push(await timed(host, () => addMember(feed, n)));
      audits.push(await timed(host, () => host.segments.requestDump("benchmark")));
      host.sh("ip link del tv-1001");
      const deletedMs = performance.now();
      while (!host.sh("bridge fdb show dev tv-1001 2>/dev/null || true").includes("dst"))
        await host.settled();
      await host.settled();
      repairs.push(performance.now() - deletedMs);
    } finally {
      await host.dispose();
    }
  }
  report.figure({ name: `${title}: programmed`, unit: "ms", values: programmed });
  report.figure({ name: `${title}: one more member`, unit: "ms", values: changes });
  report.figure({ name: `${title}: full comparison`, unit: "ms", values: audits });
  report.figure({ name: `${title}: a deleted tunnel repaired`, unit: "ms", values: repairs });
}

async function timed(host: SegmentLabHost, change: () => void): Promise<number> {
  const startMs = performance.now();
  change();
  await host.settled();
  return performance.now() - startMs;
}

/** The members of the other hosts; this host has none, so that nothing is programmed. */
function filledFeed(networkCount: number, count: number): TestFeed {
  const feed = new TestFeed();
  const networks = networksUpTo(networkCount);
  const perHost = Math.max(1, Math.floor(count / networkCount / HOSTS));
  const members = new Map(
    networks.map((network, at) => {
      const ofHosts = Array.from({ length: HOSTS }, (_, h): HostMembers => {
        const first = 100 + h * perHost;
        const list = Array.from({ length: perHost }, (_, m): Member => testMember(at + 1, first + m));
        return { host: hostId(h + 2), network: network.id, members: list };
      });
      return [network.id, new Map(ofHosts.map((one) => [one.host, one]))] as const;
    }),
  );
  feed.set({ networks: new Map(networks.map((network) => [network.id, network])), members });
  for (let h = 0; h < HOSTS; h++) {
    const publicAddresses = { 4: Address.parse(`10.99.1.${h + 1}`) };
    feed.addHost({ host: hostId(h + 2), name: `host${h}`, publicAddresses, version: "" });
  }
  return feed;
}

function publishOwn(feed: TestFeed, networkCount: number): void {
  const host = hostId(1);
  const members = new Map(feed.view.members);
  for (const [at, network] of networksUpTo(networkCount).entries()) {
    const own = { host, network: network.id, members: [testMember(at + 1, 2)] };
    members.set(network.id, new Map([...(members.get(network.id) ?? []), [host, own]]));
  }
  feed.set({ members });
}

function addMember(feed: TestFeed, n: number): void {
  const { id } = testNetwork(1);
  feed.setMembers(id, hostId(2), [...feed.membersOf(id, hostId(2)), testMember(1, 60_000 + n)]);
}

function networksUpTo(count: number): NamedNetwork[] {
  return Array.from({ length: count }, (_, at) => testNetwork(at + 1));
}

async function throughput(report: Report, rounds: number): Promise<void> {
  const labs: Lab[] = [];
  const lan = createLan();
  const feed = new TestFeed();
  const network = testNetwork(1);
  feed.addNetwork(network);
  const hosts = [1, 2].map((n) =>
    new SegmentLabHost({ n, feed, firewall: "iptables" }).plugInto(lan).start(),
  );
  const [tcp, packets]: [number[][], number[][]] = [
    [[], []],
    [[], []],
  ];
  try {
    const flat = await overlayByTulled(labs);
    const containers = [];
    for (const [at, host] of hosts.entries())
      containers.push(await host.run(network, testMember(1, 10 * (at + 1))));
    for (const host of hosts) await host.settled();
    const [from, to] = containers;
    if (from === undefined || to === undefined || !(await reaches(from, to.member.addresses[4])))
      throw new Error("the containers of the named network do not reach each other");
    spawn("nsenter", [`--net=${to.netns.path}`, "iperf3", "--server"], { stdio: "ignore" });
    const named = { from, to: { netns: to.netns, address: String(to.member.addresses[4]) } };
    for (let round = 0; round < rounds; round++) {
      for (const [at, pair] of [named, flat].entries()) {
        tcp[at]?.push(await measureTcpMbits(pair, 1));
        packets[at]?.push(await measurePackets(pair, 1));
      }
    }
  } finally {
    for (const lab of labs) lab.dispose();
    for (const host of hosts) await host.dispose();
    lan.dispose();
  }
  const compare = (what: string, unit: "Mbit/s" | "packets/s", [ours = [], flat = []]: number[][]): void => {
    report.figure({ name: `named network: ${what}`, unit, values: ours });
    report.figure({ name: `flat overlay: ${what}`, unit, values: flat });
    const ratios = ours.map((value, at) => value / (flat[at] ?? Number.NaN));
    report.figure({ name: `named network / flat overlay, of each round: ${what}`, unit: "", values: ratios });
  };
  compare("TCP between containers", "Mbit/s", tcp);
  compare(`UDP of ${SMALL_BYTES} bytes, received`, "packets/s", packets);
}
