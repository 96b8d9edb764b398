/** How long a host takes from exec to subnet.env, and to all peers in the kernel, with that many leases in etcd. */

import { readFileSync, rmSync } from "node:fs";
import {
  type BenchHost,
  cpuMilliseconds,
  openBenchHost,
  PREFIX,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { putBenchLeases } from "./support/peers.ts";
import type { Bench } from "./support/report.ts";

export const bench: Bench = async (report, { compare, isQuick }) => {
  const sizes = isQuick ? [0, 100] : [0, 1000, 5000];
  const rounds = isQuick ? 1 : 5;
  const agents = new Map<string, readonly string[] | null>([["tulled", null]]);
  if (compare !== null) agents.set(compare[0] ?? "", compare);
  const host = await openBenchHost();
  try {
    let present = 0;
    for (const size of sizes) {
      putBenchLeases(host.etcd, PREFIX, present, size);
      present = size;
      const figures = new Map<string, Start[]>([...agents.keys()].map((name) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        for (const [name, command] of agents) figures.get(name)?.push(await coldStart(host, command, size));
      }
      for (const [name, starts] of figures) {
        const title = `${name}, ${size} leases`;
        report.figure({
          name: `${title}: device up and subnet.env`,
          unit: "ms",
          values: starts.map((s) => s.envMs),
        });
        report.figure({ name: `${title}: all programmed`, unit: "ms", values: starts.map((s) => s.allMs) });
        report.figure({ name: `${title}: CPU`, unit: "ms", values: starts.map((s) => s.cpuMs) });
      }
    }
  } finally {
    await host.dispose();
  }
};

interface Start {
  readonly envMs: number;
  readonly allMs: number;
  readonly cpuMs: number;
}

/** A start on a host without device or subnet.env; the lease of the start before is still in the store. */
async function coldStart(host: BenchHost, command: readonly string[] | null, peers: number): Promise<Start> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
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
    );
    return { envMs, allMs, cpuMs: cpuMilliseconds(agent.pid) };
  } finally {
    watcher.close();
    await agent.stop();
  }
}

function exists(path: string): boolean {
  try {
    return readFileSync(path).length > 0;
  } catch {
    return false; // not there yet
  }
}
