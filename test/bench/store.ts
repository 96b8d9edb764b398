/** The lease stores: a large listing, the way of one change to a watcher, and what an outage costs. */

import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import { openStore } from "../../ipam/stores/registry.ts";
import { type EtcdCluster, startEtcd } from "../support/etcd.ts";
import { putMany } from "../support/etcd-fill.ts";
import { fileStore } from "../support/stores/file.ts";
import { testEnvironment } from "../support/stores/store-factory.ts";
import { WatchLog } from "../support/watch-log.ts";
import { benchLease } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";
import { readListings, readWays } from "./support/store-figures.ts";

const signal = AbortSignal.timeout(3_600_000);

export const bench: Bench = async (report, { isQuick }) => {
  const cluster = await startEtcd();
  try {
    for (const size of isQuick ? [100] : [1_000, 5_000]) await listings(report, cluster, size, isQuick);
    await readWays(report, "etcd", () => open(cluster), isQuick ? 20 : 500);
    await outage(report, cluster, isQuick ? 2_000 : 10_000, isQuick ? 1 : 5);
  } finally {
    await cluster.stop();
  }
  const files = await fileStore.start();
  try {
    await readWays(report, "file", () => files.connect(), isQuick ? 20 : 200);
  } finally {
    await files.stop();
  }
};

async function open(cluster: EtcdCluster): Promise<StoreConnection> {
  return await openStore({ store: "etcd", etcd: { endpoints: cluster.endpoints } }, testEnvironment);
}

/** Puts `size` leases and lists them. */
async function listings(report: Report, cluster: EtcdCluster, size: number, isQuick: boolean): Promise<void> {
  const prefix = `/bench/${size}`;
  const leases = new Map(
    Array.from({ length: size }, (_, index) => benchLease(index)).map(({ key, value }) => [
      `${prefix}/subnets/${key}`,
      value,
    ]),
  );
  await putMany(cluster, [...leases.keys()], (key) => leases.get(key) ?? "");
  await readListings(report, {
    name: "etcd",
    connect: () => open(cluster),
    prefix,
    size,
    rounds: isQuick ? 2 : 20,
  });
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
