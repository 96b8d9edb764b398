/** How long a host takes from exec to subnet.env, and to all peers in the kernel, with that many leases in etcd. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import {
  type BenchHost,
  cpuMilliseconds,
  openBenchHost,
  PREFIX,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { contendersOf } from "./support/contenders.ts";
import { batchFloor, peersUpTo } from "./support/floor.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { putBenchLeases } from "./support/peers.ts";
import { plotSvg } from "./support/plot.ts";
import { type Bench, quantile, type Report } from "./support/report.ts";

/** Beyond these only ours is started. */
const MAX_COMPARED = 5000;

export const bench: Bench = async (report, { compare, isQuick }) => {
  const sizes = isQuick ? [0, 100] : [0, 10, 100, 1000, 5000, 20_000, 50_000];
  const host = await openBenchHost();
  const lines = new Map<string, [number, number][]>();
  try {
    let present = 0;
    for (const size of sizes) {
      putBenchLeases(host.etcd, PREFIX, present, size);
      present = size;
      const rounds = isQuick || size > MAX_COMPARED ? 1 : 5;
      const contenders = contendersOf(size > MAX_COMPARED ? null : compare);
      const starts = new Map<string, Start[]>(contenders.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        for (const { name, command } of contenders) {
          starts.get(name)?.push(await coldStart(host, command, size));
        }
      }
      for (const [name, times] of starts) {
        figures(report, `${name}, ${size} leases`, times);
        if (size > 0) lines.set(name, [...(lines.get(name) ?? []), [size, median(times)]]);
      }
      if (size > 0 && !isQuick) {
        const floor = [size, await batchFloor(peersUpTo(size))] as [number, number];
        lines.set(FLOOR, [...(lines.get(FLOOR) ?? []), floor]);
      }
    }
  } finally {
    await host.dispose();
  }
  if (!isQuick) plot(lines);
};

function figures(report: Report, title: string, starts: readonly Start[]): void {
  const figure = (what: string, read: (start: Start) => number): void =>
    report.figure({ name: `${title}: ${what}`, unit: "ms", values: starts.map(read) });
  figure("device up and subnet.env", ({ envMs }) => envMs);
  figure("all programmed", ({ allMs }) => allMs);
  figure("processor time", ({ cpuMs }) => cpuMs);
  figure("etcd's processor time", ({ storeCpuMs }) => storeCpuMs);
}

const FLOOR = "ip -batch and bridge -batch of the same";

function plot(lines: ReadonlyMap<string, readonly [number, number][]>): void {
  const drawn = [...lines].map(([name, points]) => ({
    name: name === FLOOR ? name : `${name}: from exec to all programmed`,
    points,
  }));
  const title = "Cold start of an agent among leases in etcd";
  mkdirSync("docs/performance", { recursive: true });
  writeFileSync(
    "docs/performance/cold-start.svg",
    plotSvg({ title, x: "leases", y: "milliseconds", lines: drawn }),
  );
}

function median(starts: readonly Start[]): number {
  return quantile(
    starts.map(({ allMs }) => allMs),
    0.5,
  );
}

interface Start {
  readonly envMs: number;
  readonly allMs: number;
  readonly cpuMs: number;
  readonly storeCpuMs: number;
}

/** A start on a host without device or subnet.env; the lease of the start before is still in the store. */
async function coldStart(host: BenchHost, command: readonly string[] | null, peers: number): Promise<Start> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const storeBefore = storeCpuMilliseconds(host);
  const startMs = performance.now();
  const agent = startAgent(host, command);
  try {
    rmSync(agent.subnetFile, { force: true });
    const hasFile = (): boolean => watcher.isDeviceUp && exists(agent.subnetFile);
    const envMs = await untilTrue(startMs, hasFile, () => agent.output);
    const allMs = await untilTrue(
      startMs,
      () => watcher.hasPeers(peers),
      () => agent.output,
      120_000,
    );
    const storeCpuMs = storeCpuMilliseconds(host) - storeBefore;
    return { envMs, allMs, cpuMs: cpuMilliseconds(agent.pid), storeCpuMs };
  } finally {
    watcher.close();
    await agent.stop();
  }
}

function storeCpuMilliseconds({ etcd }: BenchHost): number {
  return etcd.members.reduce((sum, { pid }) => sum + (pid ? cpuMilliseconds(pid) : 0), 0);
}

function exists(path: string): boolean {
  try {
    return readFileSync(path).length > 0;
  } catch {
    return false; // not there yet
  }
}
