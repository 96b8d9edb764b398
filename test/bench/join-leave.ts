/** How long a join or a leave among thousands takes: from the client's put in etcd to the route in the kernel. */

import type { StoreEntry, SubnetStore } from "../../ipam/store.ts";
import {
  type BenchHost,
  openBenchHost,
  PREFIX,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { benchLease, putBenchLeases } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";
import { RouteEvents } from "./support/route-events.ts";

const PAUSE_MS = 20;

export const bench: Bench = async (report, { compare, isQuick }) => {
  const peers = isQuick ? 100 : 5000;
  const joins = isQuick ? 5 : 200;
  const host = await openBenchHost();
  try {
    putBenchLeases(host.etcd, PREFIX, 0, peers);
    for (const command of compare === null ? [null] : [null, compare]) {
      await measure(report, host, command, peers, joins);
    }
  } finally {
    await host.dispose();
  }
};

async function measure(
  report: Report,
  host: BenchHost,
  command: readonly string[] | null,
  peers: number,
  joins: number,
): Promise<void> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const events = new RouteEvents();
  const agent = startAgent(host, command);
  const store = host.store.network(PREFIX);
  try {
    await untilTrue(
      performance.now(),
      () => watcher.hasPeers(peers),
      () => agent.output,
    );
    const joinMs: number[] = [];
    const leaveMs: number[] = [];
    for (let index = peers; index < peers + joins; index++) {
      const { entry, ms } = await join(store, events, index);
      joinMs.push(ms);
      await pause();
      leaveMs.push(await leave(store, events, entry));
      await pause();
    }
    const title = `${command?.[0] ?? "tulled"}, ${peers} leases`;
    report.figure({ name: `${title}: join, put to route`, unit: "ms", values: joinMs });
    report.figure({ name: `${title}: leave, delete to no route`, unit: "ms", values: leaveMs });
  } finally {
    events.close();
    watcher.close();
    await agent.stop();
  }
}

async function join(
  store: SubnetStore,
  events: RouteEvents,
  index: number,
): Promise<{ readonly entry: StoreEntry; readonly ms: number }> {
  const { key, value } = benchLease(index);
  const there = events.next("+", key.replace("-", "/"));
  const startMs = performance.now();
  const entry = await store.create(key, value, Number.POSITIVE_INFINITY, AbortSignal.timeout(10_000));
  return { entry, ms: (await there) - startMs };
}

async function leave(store: SubnetStore, events: RouteEvents, entry: StoreEntry): Promise<number> {
  const gone = events.next("-", entry.key.replace("-", "/"));
  const startMs = performance.now();
  await store.remove(entry, AbortSignal.timeout(10_000));
  return (await gone) - startMs;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
