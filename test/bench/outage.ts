/** Etcd stops for half a minute: what an agent spends meanwhile, and how soon after it a join is served. */

import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { EtcdLab } from "../support/hosts.ts";
import { cpuMilliseconds, untilTrue } from "./support/bench-host.ts";
import { type Contender, contendersOf, daemonOn } from "./support/contenders.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { BENCH_NETWORK, benchLease } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

export const bench: Bench = async (report, { isQuick, compare }) => {
  const outageMs = isQuick ? 3_000 : 30_000;
  const net = new EtcdLab("outage", { hosts: 2, config: BENCH_NETWORK });
  try {
    await net.build();
    for (const contender of contendersOf(compare)) await outage(report, net, contender, outageMs);
  } finally {
    await net.dispose();
  }
};

async function outage(report: Report, net: EtcdLab, contender: Contender, outageMs: number): Promise<void> {
  const [member] = net.etcd.members;
  const host = net.host(2);
  const daemon = daemonOn(host, contender);
  const handle = NetnsHandle.open(host.netns.path);
  const watcher = new KernelWatcher("flannel.1", handle);
  const until = (isTrue: () => boolean): Promise<number> =>
    untilTrue(performance.now(), isTrue, () => daemon.log.slice(-2000));
  const { key, value } = benchLease(0);
  try {
    daemon.spawn(...net.flags);
    await until(() => watcher.isDeviceUp && watcher.hasPeers(0));
    await pause(1000);
    const { pid } = daemon;
    if (member === undefined || pid === null) throw new Error("the lab is not complete");
    const linesBefore = lines(daemon.logFile);
    await member.kill();
    const cpuBefore = cpuMilliseconds(pid);
    await pause(outageMs);
    const cpu = cpuMilliseconds(pid) - cpuBefore;
    await member.start();
    const startMs = performance.now();
    net.put(`subnets/${key}`, value);
    await until(() => watcher.hasPeers(1));
    const title = `${contender.name}, etcd stopped for ${outageMs / 1000} s`;
    const backMs = performance.now() - startMs;
    report.figure({ name: `${title}: back to a new peer served`, unit: "ms", values: [backMs] });
    report.figure({ name: `${title}: processor time`, unit: "ms", values: [cpu] });
    report.figure({ name: `${title}: log lines`, unit: "", values: [lines(daemon.logFile) - linesBefore] });
  } finally {
    if (daemon.pid !== null) await daemon.stop();
    net.delete(`subnets/${key}`);
    watcher.close();
    handle.close();
    host.netns.exec("sh", ["-c", "ip link delete flannel.1 2>/dev/null || true"]);
  }
}

function lines(file: string): number {
  return readFileSync(file, "utf8").split("\n").length - 1;
}
