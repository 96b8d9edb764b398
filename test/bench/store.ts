/** The lease stores: a large listing, the way of one change to a watcher, and what an outage costs. */

import { decodeEntry } from "../../ipam/lease-codec.ts";
import type { StoreConnection, SubnetStore } from "../../ipam/store.ts";
import { openStore } from "../../ipam/stores/registry.ts";
import { type EtcdCluster, startEtcd } from "../support/etcd.ts";
import { putMany } from "../support/etcd-fill.ts";
import { fileStore } from "../support/stores/file.ts";
import { testEnvironment } from "../support/stores/store-factory.ts";
import { WatchLog } from "../support/watch-log.ts";
import { benchLease } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

const PREFIX = "/coreos.com/network";
const signal = AbortSignal.timeout(3_600_000);

export const bench: Bench = async (report, { isQuick }) => {
  const cluster = await startEtcd();
  try {
    for (const size of isQuick ? [100] : [1_000, 5_000]) await listings(report, cluster, size, isQuick);
    await ways(report, "etcd", () => open(cluster), isQuick ? 20 : 500);
    await outage(report, cluster, isQuick ? 2_000 : 10_000, isQuick ? 1 : 5);
  } finally {
    await cluster.stop();
  }
  const files = await fileStore.start();
  try {
    await ways(report, "file", () => files.connect(), isQuick ? 20 : 200);
  } finally {
    await files.stop();
  }
};

async function open(cluster: EtcdCluster): Promise<StoreConnection> {
  return await openStore({ store: "etcd", etcd: { endpoints: cluster.endpoints } }, testEnvironment);
}

/** Lists and decodes `size` leases, on a fresh connection and on one that stands. */
async function listings(report: Report, cluster: EtcdCluster, size: number, isQuick: boolean): Promise<void> {
  const prefix = `/bench/${size}`;
  const leases = new Map(
    Array.from({ length: size }, (_, index) => benchLease(index)).map(({ key, value }) => [
      `${prefix}/subnets/${key}`,
      value,
    ]),
  );
  await putMany(cluster, [...leases.keys()], (key) => leases.get(key) ?? "");
  const fresh: number[] = [];
  const standing: number[] = [];
  for (let round = 0; round < (isQuick ? 2 : 20); round += 1) {
    const connection = await open(cluster);
    const store = connection.network(prefix);
    fresh.push(await milliseconds(() => listAndDecode(store, size)));
    standing.push(await milliseconds(() => listAndDecode(store, size)));
    await connection.close();
  }
  const title = `etcd, ${size} leases listed and decoded`;
  report.figure({ name: `${title}: first time`, unit: "ms", values: fresh.slice(0, 1) });
  report.figure({ name: `${title}: new connection`, unit: "ms", values: fresh.slice(1) });
  report.figure({ name: `${title}: same connection`, unit: "ms", values: standing });
}

async function listAndDecode(store: SubnetStore, size: number): Promise<void> {
  const { entries } = await store.list(signal);
  const leases = entries.map(decodeEntry);
  if (leases.length !== size) throw new Error(`${leases.length} leases instead of ${size}`);
}

/** From a write's begin, and from its acknowledgement, until the watcher of another connection has its message. */
async function ways(
  report: Report,
  name: string,
  connect: () => Promise<StoreConnection>,
  rounds: number,
): Promise<void> {
  const [writing, watching] = [await connect(), await connect()];
  const store = writing.network(PREFIX);
  const stop = new AbortController();
  const messages = watching.network(PREFIX).watch(stop.signal)[Symbol.asyncIterator]();
  const fromWrite: number[] = [];
  const fromAnswer: number[] = [];
  try {
    await messages.next();
    for (let round = 0; round < rounds; round += 1) {
      const startMs = performance.now();
      const message = messages.next().then(() => performance.now());
      await store.create(benchLease(round).key, "{}", Number.POSITIVE_INFINITY, signal);
      const answeredMs = performance.now();
      const toldMs = await message;
      fromWrite.push(toldMs - startMs);
      fromAnswer.push(Math.max(0, toldMs - answeredMs));
    }
  } finally {
    stop.abort();
    await Promise.all([writing.close(), watching.close()]);
  }
  report.figure({ name: `${name}: write begun to message out`, unit: "ms", values: fromWrite });
  report.figure({ name: `${name}: write acknowledged to message out`, unit: "ms", values: fromAnswer });
}

/** CPU time of a watcher while its store is down, and how soon it has caught up afterwards. */
async function outage(report: Report, cluster: EtcdCluster, outageMs: number, rounds: number): Promise<void> {
  const [member] = cluster.members;
  const connection = await open(cluster);
  const watched = new WatchLog(connection.network("/outage"));
  const cpuShares: number[] = [];
  const backMs: number[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) {
      await member?.kill();
      const before = process.cpuUsage();
      await testEnvironment.clock.sleep(outageMs, signal);
      const { user, system } = process.cpuUsage(before);
      cpuShares.push((user + system) / 1_000 / outageMs);
      await member?.start();
      cluster.ctl("put", "/outage/subnets/10.1.1.0-24", String(round));
      const startMs = performance.now();
      while (watched.leases["10.1.1.0-24"] !== String(round)) await testEnvironment.clock.sleep(1, signal);
      backMs.push(performance.now() - startMs);
    }
  } finally {
    await watched.stop();
    await connection.close();
  }
  const title = `etcd, outage of ${outageMs / 1_000} s`;
  report.figure({
    name: `${title}: share of a core in percent`,
    unit: "",
    values: cpuShares.map((share) => 100 * share),
  });
  report.figure({ name: `${title}: server healthy to caught up`, unit: "ms", values: backMs });
}

async function milliseconds(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}
