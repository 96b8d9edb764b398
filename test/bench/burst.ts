/** A thousand hosts that join, and leave, at once: how long until the kernel has all of them. */

import {
  type BenchHost,
  openBenchHost,
  PREFIX,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { contendersOf } from "./support/contenders.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { benchLease, deleteBenchLeases, putBenchLeases } from "./support/peers.ts";
import type { Bench } from "./support/report.ts";

/** Puts on their way at a time, where each is a request of its own. */
const CONCURRENT_PUTS = 50;

type Note = (what: string, ms: number) => void;

export const bench: Bench = async (report, { compare, isQuick }) => {
  const burst = isQuick ? 100 : 1000;
  const rounds = isQuick ? 1 : 3;
  const host = await openBenchHost();
  const values = new Map<string, number[]>();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const { name, command } of contendersOf(compare)) {
        await measure(host, command, burst, (what, ms) => {
          const title = `${name}, burst of ${burst}: ${what}`;
          values.set(title, [...(values.get(title) ?? []), ms]);
        });
      }
    }
  } finally {
    await host.dispose();
  }
  for (const [name, ms] of values) report.figure({ name, unit: "ms", values: ms });
};

async function measure(
  host: BenchHost,
  command: readonly string[] | null,
  burst: number,
  note: Note,
): Promise<void> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const agent = startAgent(host, command);
  const until = (peers: number, startMs: number): Promise<number> =>
    untilTrue(
      startMs,
      () => watcher.hasPeers(peers),
      () => agent.output,
    );
  try {
    await untilTrue(
      performance.now(),
      () => watcher.isDeviceUp,
      () => agent.output,
    );
    await until(0, performance.now());

    let startMs = performance.now();
    await putSingly(host, burst);
    note("joins by single puts: the store alone", performance.now() - startMs);
    note("joins by single puts: all programmed", await until(burst, startMs));

    startMs = performance.now();
    deleteBenchLeases(host.etcd, PREFIX, 0, burst);
    note("leaves, 100 per transaction: the store alone", performance.now() - startMs);
    note("leaves, 100 per transaction: all gone", await until(0, startMs));

    startMs = performance.now();
    putBenchLeases(host.etcd, PREFIX, 0, burst);
    note("joins, 100 per transaction: the store alone", performance.now() - startMs);
    note("joins, 100 per transaction: all programmed", await until(burst, startMs));
  } finally {
    watcher.close();
    await agent.stop();
    deleteBenchLeases(host.etcd, PREFIX, 0, burst);
  }
}

async function putSingly(host: BenchHost, burst: number): Promise<void> {
  const store = host.store.network(PREFIX);
  for (let first = 0; first < burst; first += CONCURRENT_PUTS) {
    const puts = Array.from({ length: Math.min(CONCURRENT_PUTS, burst - first) }, (_, offset) => {
      const { key, value } = benchLease(first + offset);
      return store.leases.create(key, value, Number.POSITIVE_INFINITY, AbortSignal.timeout(60_000));
    });
    await Promise.all(puts);
  }
}
