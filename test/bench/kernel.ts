/**
 * Programming the kernel: how long N peers take beside `ip -batch` and `bridge -batch` with the same objects, what a
 * join costs among them, and how soon damage of each kind is repaired. Without a store: the plan is given.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import type { PassReport } from "../../backends/kernel/reconciler.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { ObjectKind } from "../../backends/state/kinds/registry.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { changedPeers, OWN, peer } from "../support/vxlan-fixture.ts";
import { VxlanHost } from "../support/vxlan-host.ts";
import { damages } from "./support/damage.ts";
import { batchFloor, peersUpTo } from "./support/floor.ts";
import { type Line, plotSvg } from "./support/plot.ts";
import { type Bench, quantile, type Report } from "./support/report.ts";

const PLOT_FOLDER = "docs/performance";
const MAX_MS = 120_000;
/** Of one kind: beyond these the reconciler would see a quarrel in them and take its time. */
const REPAIRS = 9;

export const bench: Bench = async (report, { isQuick }) => {
  // The largest comes first: a fresh process shows what memory it takes.
  const sizes = isQuick ? [100, 10] : [50_000, 20_000, 5000, 1000, 100, 10];
  const lines: Record<"ours" | "floor" | "join", [number, number][]> = { ours: [], floor: [], join: [] };
  for (const size of sizes) {
    const rounds = isQuick || size > 20_000 ? 1 : 5;
    const { programmed, floor, joins } = await programming(report, size, rounds);
    lines.ours.unshift([size, quantile(programmed, 0.5)]);
    lines.floor.unshift([size, quantile(floor, 0.5)]);
    lines.join.unshift([size, quantile(joins, 0.5)]);
  }
  await repairs(report, isQuick ? 100 : 1000, isQuick ? 2 : REPAIRS);
  if (!isQuick) plot(lines);
};

interface Programming {
  readonly programmed: readonly number[];
  readonly floor: readonly number[];
  readonly joins: readonly number[];
}

async function programming(report: Report, size: number, rounds: number): Promise<Programming> {
  const title = `${size} peers`;
  const programmed: number[] = [];
  const floor: number[] = [];
  const peers = peersUpTo(size);
  let joins: readonly number[] = [];
  for (let round = 0; round < rounds; round++) {
    const host = new VxlanHost({ label: "bench" }).start();
    try {
      await host.want();
      const startMs = performance.now();
      host.planMap(peers);
      await host.settled(MAX_MS);
      programmed.push(performance.now() - startMs);
      if (round < rounds - 1) continue;
      report.figure({ name: `${title}: resident memory`, unit: "MiB", values: [residentMiB()] });
      joins = await joinsAndLeaves(report, host, peers, title);
      const auditMs = performance.now();
      host.reconciler.requestDump("benchmark");
      await host.settled(MAX_MS);
      report.figure({ name: `${title}: full comparison`, unit: "ms", values: [performance.now() - auditMs] });
    } finally {
      await host.dispose();
    }
  }
  for (let round = 0; round < rounds; round++) floor.push(await batchFloor(peers));
  report.figure({ name: `${title}: programmed`, unit: "ms", values: programmed });
  report.figure({ name: `${title}: ip -batch and bridge -batch of the same`, unit: "ms", values: floor });
  return { programmed, floor, joins };
}

/** From the changed plan to its objects in the kernel. */
async function joinsAndLeaves(
  report: Report,
  host: VxlanHost,
  peers: Map<LeaseKey, Lease>,
  title: string,
): Promise<readonly number[]> {
  const joins: number[] = [];
  const leaves: number[] = [];
  const step = async (key: LeaseKey): Promise<number> => {
    const startMs = performance.now();
    host.reconciler.setDesired(host.planner.plan({ own: OWN, peers: changedPeers(peers, key) }));
    await host.settled(MAX_MS);
    return performance.now() - startMs;
  };
  for (let n = 0; n < 200; n++) {
    const lease = peer(60_000 + n);
    peers.set(lease.key, lease);
    joins.push(await step(lease.key));
    peers.delete(lease.key);
    leaves.push(await step(lease.key));
  }
  report.figure({ name: `${title}: one more`, unit: "ms", values: joins });
  report.figure({ name: `${title}: one less`, unit: "ms", values: leaves });
  return joins;
}

async function repairs(report: Report, size: number, rounds: number): Promise<void> {
  let onRepair: (report: PassReport) => void = () => undefined;
  const host = new VxlanHost({ label: "bench", reconciler: { onPass: (pass) => onRepair(pass) } }).start();
  const other = NetlinkConnection.open({ netns: host.handle });
  const repaired = (kind: ObjectKind): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${kind} was repaired`)), MAX_MS / 10);
      onRepair = (pass) => {
        if ((pass.repaired[kind] ?? 0) === 0) return;
        clearTimeout(timer);
        resolve();
      };
    });
  try {
    const peers = peersUpTo(size);
    for (const { name, kind, cause } of damages(host, other)) {
      await host.restart();
      host.planMap(peers);
      await host.settled(MAX_MS);
      const values: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const done = repaired(kind);
        const startMs = performance.now();
        await cause(round);
        await done;
        await host.settled(MAX_MS);
        values.push(performance.now() - startMs);
      }
      report.figure({ name: `${size} peers, ${name}: repaired`, unit: "ms", values });
    }
  } finally {
    other.close();
    await host.dispose();
  }
}

function plot(lines: Readonly<Record<"ours" | "floor" | "join", [number, number][]>>): void {
  mkdirSync(PLOT_FOLDER, { recursive: true });
  const drawn: Line[] = [
    { name: "tulle: all peers", points: lines.ours },
    { name: "ip -batch and bridge -batch", points: lines.floor },
    { name: "tulle: one more peer", points: lines.join },
  ];
  const title = "Programming the kernel: route, nexthop, neighbour and FDB entry of each peer";
  writeFileSync(`${PLOT_FOLDER}/kernel.svg`, plotSvg({ title, x: "peers", y: "milliseconds", lines: drawn }));
}

function residentMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}
