/** Etcd stops for half a minute: what the agents spend meanwhile, and how soon after it a join is served. */

import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { EtcdLab } from "../support/hosts.ts";
import { cpuMilliseconds } from "./support/bench-host.ts";
import { benchLease } from "./support/peers.ts";
import type { Bench } from "./support/report.ts";

const CONFIG = { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } };

export const bench: Bench = async (report, { isQuick }) => {
  const outageMs = isQuick ? 3_000 : 30_000;
  const net = new EtcdLab("outage", { hosts: 3, config: CONFIG });
  try {
    await net.build();
    await net.startAll();
    const [member] = net.etcd.members;
    const watcher = net.host(2).daemon;
    if (member === undefined || watcher.pid === null) throw new Error("the lab is not complete");
    const linesBefore = lines(watcher.logFile);
    await member.kill();
    const cpuBefore = cpuMilliseconds(watcher.pid);
    await pause(outageMs);
    const cpu = cpuMilliseconds(watcher.pid) - cpuBefore;
    await member.start();
    const backMs = performance.now();
    const { key, value } = benchLease(0);
    net.put(`subnets/${key}`, value);
    await watcher.until(({ peers }) => peers.some((peer) => peer.key === key), "serves the new peer");
    const title = `etcd stopped for ${outageMs / 1000} s`;
    report.figure({
      name: `${title}: back to a new peer served`,
      unit: "ms",
      values: [performance.now() - backMs],
    });
    report.figure({ name: `${title}: processor time of an agent`, unit: "ms", values: [cpu] });
    report.figure({ name: `${title}: log lines`, unit: "", values: [lines(watcher.logFile) - linesBefore] });
  } finally {
    await net.dispose();
  }
};

function lines(file: string): number {
  return readFileSync(file, "utf8").split("\n").length - 1;
}
