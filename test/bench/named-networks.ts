/** Named networks: what 10,000 endpoints cost an agent, and how soon all hosts know a new address. */

import { setMaxListeners } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import { macFromBytes } from "../../ipam/addresses/mac.ts";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { encodeCatalogue, entryOf } from "../../ipam/named-networks/catalogue-record.ts";
import { StoreFeed } from "../../ipam/named-networks/feed.ts";
import { encodeHost, encodeMembers } from "../../ipam/named-networks/member-codec.ts";
import type { Member, NamedNetwork, NetworkId } from "../../ipam/named-networks/named-network.ts";
import { CATALOGUE_RECORD, hostRecord, membersRecord } from "../../ipam/named-networks/record-names.ts";
import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import { openStore } from "../../ipam/stores/registry.ts";
import { type EtcdCluster, startEtcd } from "../support/etcd.ts";
import { putMany } from "../support/etcd-fill.ts";
import { Folders, hostId, hostRecordOf } from "../support/named-networks/lab.ts";
import { testEnvironment } from "../support/stores/store-factory.ts";
import type { Bench, Report } from "./support/report.ts";

interface Scale {
  readonly prefix: string;
  readonly networks: number;
  readonly hosts: number;
  /** Of each host in each network. */
  readonly membersEach: number;
}

/** 10,000 endpoints. */
const WIDE: Scale = { prefix: "/wide", networks: 100, hosts: 50, membersEach: 2 };
/** 5,000 endpoints. */
const DEEP: Scale = { prefix: "/deep", networks: 1, hosts: 50, membersEach: 100 };

/** Of one request, below etcd's limit of 1.5 MiB (--max-request-bytes). */
const FILL_CHARACTERS = 700_000;

const longest = (values: ReadonlyMap<string, string>): number =>
  [...values.values()].reduce((most, { length }) => Math.max(most, length), 1);

const collectGarbage = (): void => {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
};

export const bench: Bench = async (report, { isQuick }) => {
  const cluster = await startEtcd();
  const folders = new Folders();
  try {
    await fill(cluster, WIDE);
    await measureStarts(report, cluster, folders, isQuick ? 1 : 10);
    await fill(cluster, DEEP);
    await measureLatency(report, cluster, folders, isQuick ? 20 : 300);
  } finally {
    await cluster.stop();
    folders.dispose();
  }
};

async function fill(cluster: EtcdCluster, { prefix, networks, hosts, membersEach }: Scale): Promise<void> {
  const values = new Map<string, string>();
  const all = Array.from({ length: networks }, (_, index) => networkOf(index));
  const catalogue = { networks: all.map(entryOf), drafts: [], others: {} };
  values.set(CATALOGUE_RECORD, encodeCatalogue(catalogue));
  for (let host = 1; host <= hosts; host += 1) {
    values.set(hostRecord(hostId(host)), encodeHost(hostRecordOf(host)));
    for (const network of all) {
      const members = Array.from({ length: membersEach }, (_, index) =>
        memberIn(network, host * membersEach + index),
      );
      values.set(membersRecord(network.id, hostId(host)), encodeMembers(members));
    }
  }
  const folder = `${prefix}/tulle/`;
  const keys = [...values.keys()].map((name) => folder + name);
  const each = Math.max(1, Math.floor(FILL_CHARACTERS / longest(values)));
  for (let start = 0; start < keys.length; start += each)
    await putMany(
      cluster,
      keys.slice(start, start + each),
      (key) => values.get(key.slice(folder.length)) ?? "",
    );
}

function networkOf(index: number): NamedNetwork {
  const subnet = Prefix.of(Address.of(4, 0x0a000000n + (BigInt(index) << 16n)), 16);
  return {
    id: index.toString(16).padStart(32, "a") as NetworkId,
    name: `network${index}`,
    vni: 4096 + index,
    pools: { 4: { subnet, allocation: subnet, gateway: subnet.base.plus(1), excluded: [] } },
    ...{ isInternal: false, hasBroadcast: false, mtuBytes: null, labels: {}, options: {} },
    createdSeconds: 0,
  };
}

function memberIn(network: NamedNetwork, number: number): Member {
  const address = network.pools[4]?.subnet.base.plus(number + 2);
  if (address === undefined) throw new TypeError("the network has no pool");
  const id = number.toString(16).padStart(64, "c");
  return {
    endpoint: number.toString(16).padStart(64, "e"),
    container: id,
    engine: "docker",
    names: [`container-${number}`, `alias-${number}`, id.slice(-12)],
    mac: macFromBytes(new Uint8Array([2, 0x42, ...address.toBytes()])),
    addresses: { 4: address },
  };
}

async function open(cluster: EtcdCluster): Promise<StoreConnection> {
  return await openStore({ store: "etcd", etcd: { endpoints: cluster.endpoints } }, testEnvironment);
}

function feedOn(connection: StoreConnection, prefix: string, host: number, stateDir: string): StoreFeed {
  return new StoreFeed({
    records: connection.network(prefix).records,
    host: hostRecordOf(host),
    ...{ stateDir, clock: systemClock, random: Math.random, logger: silentLogger },
  });
}

function countMembers({ view }: StoreFeed): number {
  let count = 0;
  for (const hosts of view.members.values())
    for (const { members } of hosts.values()) count += members.length;
  return count;
}

/** Of an agent without members of its own: from the store, and from the disk while the store is away. */
async function measureStarts(
  report: Report,
  cluster: EtcdCluster,
  folders: Folders,
  rounds: number,
): Promise<void> {
  const { prefix, networks, hosts, membersEach } = WIDE;
  const expected = networks * hosts * membersEach;
  const [fromStore, fromDisk, heap]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round += 1) {
    const stateDir = folders.make();
    const connection = await open(cluster);
    const end = new AbortController();
    collectGarbage();
    const heapBefore = process.memoryUsage().heapUsed;
    const startMs = performance.now();
    const feed = feedOn(connection, prefix, hosts + 1, stateDir);
    const done = feed.run(end.signal);
    await until(feed, () => countMembers(feed) === expected);
    fromStore.push(performance.now() - startMs);
    collectGarbage();
    heap.push((process.memoryUsage().heapUsed - heapBefore) / 2 ** 20);
    end.abort();
    await done;
    await connection.close();
    const restartMs = performance.now();
    const again = feedOn(connection, prefix, hosts + 1, stateDir);
    if (countMembers(again) !== expected) throw new Error("the view on the disk is not complete");
    fromDisk.push(performance.now() - restartMs);
  }
  const title = `${expected} endpoints in ${networks} networks`;
  report.figure({ name: `${title}: view from the store`, unit: "ms", values: fromStore });
  report.figure({ name: `${title}: view from the disk`, unit: "ms", values: fromDisk });
  report.figure({ name: `${title}: heap of the feed`, unit: "MiB", values: heap });
}

/** All agents in this process: each decodes each change. */
async function measureLatency(
  report: Report,
  cluster: EtcdCluster,
  folders: Folders,
  rounds: number,
): Promise<void> {
  const { prefix, hosts, membersEach } = DEEP;
  const network = networkOf(0);
  const connections = await Promise.all(Array.from({ length: hosts }, () => open(cluster)));
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  const feeds = connections.map((each, index) => feedOn(each, prefix, index + 1, folders.make()));
  const done = feeds.map((feed) => feed.run(end.signal));
  for (const feed of feeds) await until(feed, () => countMembers(feed) === hosts * membersEach);
  const values: number[] = [];
  const busy: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await systemClock.sleep(20 + Math.random() * 30, end.signal);
    const from = round % hosts;
    const before = process.cpuUsage();
    const member = memberIn(network, 10_000 + round);
    const startMs = performance.now();
    const known = feeds.map((feed) =>
      until(feed, () => {
        const members = feed.view.members.get(network.id)?.get(hostId(from + 1))?.members ?? [];
        return members.some(({ endpoint }) => endpoint === member.endpoint);
      }),
    );
    feeds[from]?.setMember(network.id, member);
    await Promise.all(known);
    values.push(performance.now() - startMs);
    const { user, system } = process.cpuUsage(before);
    busy.push((user + system) / 1000);
    feeds[from]?.removeMember(network.id, member.endpoint);
    await until(
      feeds[(from + 1) % hosts] as StoreFeed,
      () => countMembers(feeds[(from + 1) % hosts] as StoreFeed) === hosts * membersEach,
    );
  }
  const title = `${hosts * membersEach} endpoints in one network`;
  report.figure({ name: `${title}: address known to ${hosts} hosts`, unit: "ms", values });
  report.figure({ name: `${title}: processor time of ${hosts} agents for it`, unit: "ms", values: busy });
  end.abort();
  await Promise.all(done);
  await Promise.all(connections.map((each) => each.close()));
}

/** Resolves when `isReached`, which is asked after each change of the view. */
async function until(feed: StoreFeed, isReached: () => boolean): Promise<void> {
  if (isReached()) return;
  await new Promise<void>((resolve) => {
    const stop = feed.onChange(() => {
      if (!isReached()) return;
      stop();
      resolve();
    });
  });
}
