/** How long a join or a leave among thousands takes: from the client's put in etcd to the route in the kernel. */

import type { NetworkStore, StoreEntry } from "../../ipam/stores/contracts.ts";
import {
  type BenchHost,
  openBenchHost,
  PREFIX,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { type Contender, contendersOf } from "./support/contenders.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { benchLease, putBenchLeases } from "./support/peers.ts";
import type { Bench } from "./support/report.ts";
import { RouteEvents } from "./support/route-events.ts";

const PAUSE_MS = 20;
/** Joins and leaves before those that count: an agent that has just started runs code that is not compiled yet. */
const WARM_UP = 20;

interface Times {
  readonly joinMs: number[];
  readonly leaveMs: number[];
}

export const bench: Bench = async (report, { compare, isQuick }) => {
  const peers = isQuick ? 100 : 5000;
  const [rounds, joins] = isQuick ? [1, 5] : [2, 100];
  const host = await openBenchHost();
  const times = new Map<Contender, Times>(
    contendersOf(compare).map((contender) => [contender, { joinMs: [], leaveMs: [] }]),
  );
  try {
    putBenchLeases(host.etcd, PREFIX, 0, peers);
    for (let round = 0; round < rounds; round++) {
      for (const [{ command }, into] of times) await measure(host, command, peers, joins, into);
    }
  } finally {
    await host.dispose();
  }
  for (const [{ name }, { joinMs, leaveMs }] of times) {
    report.figure({ name: `${name}, ${peers} leases: join, put to route`, unit: "ms", values: joinMs });
    report.figure({
      name: `${name}, ${peers} leases: leave, delete to no route`,
      unit: "ms",
      values: leaveMs,
    });
  }
};

async function measure(
  host: BenchHost,
  command: readonly string[] | null,
  peers: number,
  joins: number,
  { joinMs, leaveMs }: Times,
): Promise<void> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const events = new RouteEvents();
  const agent = startAgent(host, command);
  const store = host.store.network(PREFIX);
  try {
    const hasAll = (): boolean => watcher.hasPeers(peers);
    await untilTrue(performance.now(), hasAll, () => agent.output);
    for (let count = -WARM_UP; count < joins; count++) {
      const { entry, ms: joined } = await join(store, events, peers + WARM_UP + count);
      await pause();
      const left = await leave(store, events, entry);
      await pause();
      if (count < 0) continue;
      joinMs.push(joined);
      leaveMs.push(left);
    }
  } finally {
    events.close();
    watcher.close();
    await agent.stop();
  }
}

async function join(
  store: NetworkStore,
  events: RouteEvents,
  index: number,
): Promise<{ readonly entry: StoreEntry; readonly ms: number }> {
  const { key, value } = benchLease(index);
  const there = events.next("+", key.replace("-", "/"));
  const startMs = performance.now();
  const entry = await store.leases.create(key, value, Number.POSITIVE_INFINITY, AbortSignal.timeout(10_000));
  return { entry, ms: (await there) - startMs };
}

async function leave(store: NetworkStore, events: RouteEvents, entry: StoreEntry): Promise<number> {
  const gone = events.next("-", entry.key.replace("-", "/"));
  const startMs = performance.now();
  await store.leases.remove(entry, AbortSignal.timeout(10_000));
  return (await gone) - startMs;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
