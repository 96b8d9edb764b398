/** A thousand hosts that join, and leave, at once: how long until the kernel has all of them. */

import {
  type BenchHost,
  openBenchHost,
  PREFIX,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { benchLease, deleteBenchLeases, putBenchLeases } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

/** Puts on their way at a time, where each is a request of its own. */
const CONCURRENT_PUTS = 50;

export const bench: Bench = async (report, { compare, isQuick }) => {
  const burst = isQuick ? 100 : 1000;
  const host = await openBenchHost();
  try {
    for (const command of compare === null ? [null] : [null, compare]) {
      await measure(report, host, command, burst);
    }
  } finally {
    await host.dispose();
  }
};

async function measure(
  report: Report,
  host: BenchHost,
  command: readonly string[] | null,
  burst: number,
): Promise<void> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const agent = startAgent(host, command);
  const name = command?.[0] ?? "tulled";
  const until = (peers: number, startMs: number): Promise<number> =>
    untilTrue(
      startMs,
      () => watcher.hasPeers(peers),
      () => agent.output,
    );
  const one = (what: string, ms: number): void =>
    report.figure({ name: `${name}, burst of ${burst}: ${what}`, unit: "ms", values: [ms] });
  try {
    await untilTrue(
      performance.now(),
      () => watcher.isDeviceUp,
      () => agent.output,
    );
    await until(0, performance.now());

    let startMs = performance.now();
    await putSingly(host, burst);
    one("joins by single puts: the store alone", performance.now() - startMs);
    one("joins by single puts: all programmed", await until(burst, startMs));

    startMs = performance.now();
    deleteBenchLeases(host.etcd, PREFIX, 0, burst);
    one("leaves, 100 per transaction: the store alone", performance.now() - startMs);
    one("leaves, 100 per transaction: all gone", await until(0, startMs));

    startMs = performance.now();
    putBenchLeases(host.etcd, PREFIX, 0, burst);
    one("joins, 100 per transaction: the store alone", performance.now() - startMs);
    one("joins, 100 per transaction: all programmed", await until(burst, startMs));
  } finally {
    watcher.close();
    await agent.stop();
    deleteBenchLeases(host.etcd, PREFIX, 0, burst);
  }
}

async function putSingly(host: BenchHost, burst: number): Promise<void> {
  const store = host.store.network(PREFIX);
  const signal = AbortSignal.timeout(60_000);
  for (let first = 0; first < burst; first += CONCURRENT_PUTS) {
    const puts = Array.from({ length: Math.min(CONCURRENT_PUTS, burst - first) }, (_, offset) => {
      const { key, value } = benchLease(first + offset);
      return store.create(key, value, Number.POSITIVE_INFINITY, signal);
    });
    await Promise.all(puts);
  }
}
