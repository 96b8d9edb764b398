/** Leases in Consul: a large listing, the way of one change to a watcher, the idle traffic, and an outage's end. */

import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import { openStore } from "../../ipam/stores/registry.ts";
import { type ConsulCluster, missingConsul, startConsul } from "../support/consul.ts";
import { testEnvironment } from "../support/stores/store-factory.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { WatchLog } from "../support/watch-log.ts";
import { benchLease } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";
import { readListings, readWays } from "./support/store-figures.ts";

const signal = AbortSignal.timeout(3_600_000);

/** Consul takes so many operations in one transaction. */
const TRANSACTION_SIZE = 64;

export const bench: Bench = async (report, { isQuick }) => {
  const missing = missingConsul();
  if (missing !== null) return report.note(missing);
  const cluster = await startConsul();
  try {
    await readWays(report, "consul", () => open(cluster.addresses), isQuick ? 20 : 300);
    for (const size of isQuick ? [100] : [1_000, 5_000]) {
      const prefix = `bench/${size}`;
      await fill(cluster, prefix, size);
      const connect = () => open(cluster.addresses);
      await readListings(report, { name: "consul", connect, prefix, size, rounds: isQuick ? 2 : 20 });
      await readWays(report, `consul, beside ${size} leases`, connect, isQuick ? 5 : 50, {
        prefix,
        restMs: 400,
      });
    }
    await idle(report, cluster, isQuick ? 6_000 : 60_000);
    await outage(report, cluster, isQuick ? 1_000 : 5_000, isQuick ? 1 : 5);
  } finally {
    await cluster.stop();
  }
};

async function open(addresses: readonly string[]): Promise<StoreConnection> {
  return await openStore({ store: "consul", consul: { addresses } }, testEnvironment);
}

async function fill(cluster: ConsulCluster, prefix: string, size: number): Promise<void> {
  const operations = Array.from({ length: size }, (_, index) => {
    const { key, value } = benchLease(index);
    const Value = Buffer.from(value).toString("base64");
    return { KV: { Verb: "set", Key: `${prefix}/subnets/${key}`, Value } };
  });
  for (let start = 0; start < size; start += TRANSACTION_SIZE) {
    await cluster.api("PUT", "txn", JSON.stringify(operations.slice(start, start + TRANSACTION_SIZE)));
  }
}

/** Bytes over the wire, in both directions, of a watch in which nothing happens. */
async function idle(report: Report, cluster: ConsulCluster, durationMs: number): Promise<void> {
  const proxy = await startTcpProxy(cluster.servers[0]?.port ?? 0);
  const connection = await open([`127.0.0.1:${proxy.port}`]);
  const watched = new WatchLog(connection.network("/bench/idle"));
  while (watched.listings === 0) await testEnvironment.clock.sleep(10, signal);
  const before = proxy.bytes;
  await testEnvironment.clock.sleep(durationMs, signal);
  const bytesPerMinute = ((proxy.bytes - before) * 60_000) / durationMs;
  report.figure({ name: "consul, idle watch: in a minute", unit: "bytes", values: [bytesPerMinute] });
  await watched.stop();
  await connection.close();
  await proxy.close();
}

/** How soon a watcher has caught up once the server that it lost answers again. */
async function outage(
  report: Report,
  cluster: ConsulCluster,
  outageMs: number,
  rounds: number,
): Promise<void> {
  const connection = await open(cluster.addresses);
  const watched = new WatchLog(connection.network("/bench/outage"));
  const backMs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await cluster.servers[0]?.kill();
    await testEnvironment.clock.sleep(outageMs, signal);
    await cluster.servers[0]?.start();
    const startMs = performance.now();
    await cluster.api("PUT", "kv/bench/outage/subnets/10.1.1.0-24", String(round));
    while (watched.leases["10.1.1.0-24"] !== String(round)) await testEnvironment.clock.sleep(1, signal);
    backMs.push(performance.now() - startMs);
  }
  await watched.stop();
  await connection.close();
  const name = `consul, outage of ${outageMs / 1_000} s: server healthy to caught up`;
  report.figure({ name, unit: "ms", values: backMs });
}
