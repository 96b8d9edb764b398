/** A restart under 100 packets a second: how long until a new peer is served, and what was lost meanwhile. */

import { setTimeout as pause } from "node:timers/promises";
import { EtcdLab, type PingReport, startPing } from "../support/hosts.ts";
import { putBenchLeases } from "./support/peers.ts";
import type { Bench } from "./support/report.ts";

const CONFIG = { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } };

export const bench: Bench = async (report, { isQuick }) => {
  const peers = isQuick ? 50 : 1000;
  const rounds = isQuick ? 1 : 5;
  const net = new EtcdLab("restart", { hosts: 2, config: CONFIG });
  try {
    await net.build();
    putBenchLeases(net.etcd, net.prefix, 0, peers);
    await net.startAll();
    const [one, two] = [net.host(1), net.host(2)];
    const [from, to] = [one.addContainer(), two.addContainer()];
    const readyMs: number[] = [];
    const lost: number[] = [];
    let sent = 0;
    for (let round = 0; round < rounds; round++) {
      const ping = startPing(from.netns, to.address);
      await pause(300);
      if (round % 2 === 0) await one.daemon.kill();
      else await one.daemon.stop();
      const startMs = performance.now();
      await one.daemon.start(...net.flags);
      readyMs.push(performance.now() - startMs);
      await pause(300);
      const answer: PingReport = await ping.stop();
      sent += answer.sent;
      lost.push(answer.lost.length);
    }
    report.figure({ name: `restart, ${peers} leases: exec to ready`, unit: "ms", values: readyMs });
    report.figure({
      name: `restart, ${peers} leases: packets lost of ${sent}`,
      unit: "packets",
      values: [lost.reduce((sum, count) => sum + count, 0)],
    });
  } finally {
    await net.dispose();
  }
};
