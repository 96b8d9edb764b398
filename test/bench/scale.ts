/**
 * Beyond one rack: an agent among 50,000 leases, and what a thousand agents ask of one etcd.
 *
 * The thousand are store clients without a kernel, each with a connection, a watch and a lease of its own.
 */

import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import { openStore } from "../../ipam/stores/registry.ts";
import {
  type BenchHost,
  cpuMilliseconds,
  openBenchHost,
  PREFIX,
  proportionalMebibytes,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { benchLease, deleteBenchLeases, putBenchLeases } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

const TTL_SECONDS = 86_400;
/** An agent that has just started has yet to read the kernel's echoes and to give back what it needed. */
const SETTLE_MS = 5_000;

export const bench: Bench = async (report, { isQuick }) => {
  const host = await openBenchHost();
  try {
    await oneAmongMany(report, host, isQuick ? 500 : 50_000);
    await manyOnOneStore(report, host, isQuick ? 20 : 1000);
  } finally {
    await host.dispose();
  }
};

async function oneAmongMany(report: Report, host: BenchHost, leases: number): Promise<void> {
  putBenchLeases(host.etcd, PREFIX, 0, leases);
  removeDevice();
  const slabBefore = slabMebibytes();
  const watcher = new KernelWatcher("flannel.1");
  const startMs = performance.now();
  const agent = startAgent(host, null);
  try {
    const allMs = await untilTrue(
      startMs,
      () => watcher.hasPeers(leases),
      () => agent.output,
      120_000,
    );
    report.figure({ name: `${leases} leases: exec to all programmed`, unit: "ms", values: [allMs] });
    report.figure({
      name: `${leases} leases: processor time`,
      unit: "ms",
      values: [cpuMilliseconds(agent.pid)],
    });
    await pause(SETTLE_MS);
    report.figure({
      name: `${leases} leases: proportional memory`,
      unit: "MiB",
      values: [proportionalMebibytes(agent.pid)],
    });
    report.figure({
      name: `${leases} leases: the kernel's memory`,
      unit: "MiB",
      values: [slabMebibytes() - slabBefore],
    });
  } finally {
    watcher.close();
    await agent.stop();
    deleteBenchLeases(host.etcd, PREFIX, 0, leases);
  }
}

async function manyOnOneStore(report: Report, host: BenchHost, agents: number): Promise<void> {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const connections: StoreConnection[] = [];
  const seenMs: number[] = [];
  const news = benchLease(agents);
  const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
  const title = `${agents} agents on one etcd`;
  try {
    const startMs = performance.now();
    let watching = 0;
    const following: Promise<void>[] = [];
    for (let index = 0; index < agents; index++) {
      const connection = await openStore(
        { store: "etcd", etcd: { endpoints: [host.endpoint] } },
        environment,
      );
      connections.push(connection);
      const store = connection.network(PREFIX);
      const { key, value } = benchLease(index);
      const follow = async (): Promise<void> => {
        await store.leases.create(key, value, TTL_SECONDS, AbortSignal.timeout(60_000));
        for await (const message of store.feed.watch(stop.signal)) {
          if (message.type === "list") watching += 1;
          else if (message.changes.some((change) => change.type === "put" && change.entry.key === news.key))
            seenMs.push(performance.now());
        }
      };
      following.push(follow());
    }
    await untilTrue(
      startMs,
      () => watching === agents,
      () => `${watching} of ${agents} watch`,
    );
    report.figure({
      name: `${title}: all have a lease and a watch`,
      unit: "ms",
      values: [performance.now() - startMs],
    });
    const pid = host.etcd.members[0]?.pid ?? 0;
    const cpuMs = cpuMilliseconds(pid);
    report.figure({ name: `${title}: etcd's memory`, unit: "MiB", values: [residentMebibytes(pid)] });
    report.figure({ name: `${title}: etcd's processor time until then`, unit: "ms", values: [cpuMs] });
    const putMs = performance.now();
    const store = host.store.network(PREFIX);
    await store.leases.create(news.key, news.value, Number.POSITIVE_INFINITY, AbortSignal.timeout(10_000));
    await untilTrue(
      putMs,
      () => seenMs.length >= agents,
      () => `${seenMs.length} of ${agents} have seen it`,
    );
    report.figure({
      name: `${title}: a join seen by each`,
      unit: "ms",
      values: seenMs.map((atMs) => atMs - putMs),
    });
    report.figure({
      name: `${title}: etcd's processor time for that join`,
      unit: "ms",
      values: [cpuMilliseconds(pid) - cpuMs],
    });
    stop.abort();
    await Promise.all(following);
  } finally {
    stop.abort();
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

function residentMebibytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

/** proc_meminfo(5): what the kernel itself has taken, for routes and neighbours among other things. */
function slabMebibytes(): number {
  return Number(/^Slab:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024;
}
