/** What an idle agent costs: memory after it has settled, processor time over a minute without news. */

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
import { type Contender, contendersOf } from "./support/contenders.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { putBenchLeases } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

const SETTLE_MS = 15_000;

export const bench: Bench = async (report, { compare, isQuick }) => {
  const idleMs = isQuick ? 2_000 : 60_000;
  const host = await openBenchHost();
  try {
    let present = 0;
    for (const peers of isQuick ? [0] : [0, 5000]) {
      putBenchLeases(host.etcd, PREFIX, present, peers);
      present = peers;
      for (const contender of contendersOf(compare)) {
        await measure(report, host, contender, peers, idleMs, isQuick ? 500 : SETTLE_MS);
      }
    }
  } finally {
    await host.dispose();
  }
};

async function measure(
  report: Report,
  host: BenchHost,
  { name, command }: Contender,
  peers: number,
  idleMs: number,
  settleMs: number,
): Promise<void> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const agent = startAgent(host, command);
  const title = `${name}, ${peers} leases`;
  try {
    await untilTrue(
      performance.now(),
      () => watcher.hasPeers(peers),
      () => agent.output,
    );
    await pause(settleMs);
    const before = cpuMilliseconds(agent.pid);
    await pause(idleMs);
    const idle = cpuMilliseconds(agent.pid) - before;
    report.figure({
      name: `${title}: proportional memory`,
      unit: "MiB",
      values: [proportionalMebibytes(agent.pid)],
    });
    report.figure({
      name: `${title}: processor time in ${idleMs / 1000} idle seconds`,
      unit: "ms",
      values: [idle],
    });
  } finally {
    watcher.close();
    await agent.stop();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
