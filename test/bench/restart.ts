/** A restart under 100 packets a second: how long until a new peer is served, and what was lost meanwhile. */

import { setTimeout as pause } from "node:timers/promises";
import type { Daemon } from "../../agent/demo/daemon.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { EtcdLab, startPing } from "../support/hosts.ts";
import { untilTrue } from "./support/bench-host.ts";
import { type Contender, contendersOf, daemonOn } from "./support/contenders.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { BENCH_NETWORK, benchLease, putBenchLeases } from "./support/peers.ts";
import type { Bench } from "./support/report.ts";

interface Tally {
  readonly servedMs: number[];
  sent: number;
  lost: number;
}

export const bench: Bench = async (report, { isQuick, compare }) => {
  const peers = isQuick ? 50 : 1000;
  const rounds = isQuick ? 1 : 6;
  const net = new EtcdLab("restart", { hosts: 2, config: BENCH_NETWORK });
  const tallies = new Map<Contender, Tally>(
    contendersOf(compare).map((contender) => [contender, { servedMs: [], sent: 0, lost: 0 }]),
  );
  let handle: NetnsHandle | null = null;
  let watcher: KernelWatcher | null = null;
  try {
    await net.build();
    putBenchLeases(net.etcd, net.prefix, 0, peers);
    await net.startAll();
    const [one, two] = [net.host(1), net.host(2)];
    const [from, to] = [one.addContainer(), two.addContainer()];
    handle = NetnsHandle.open(one.netns.path);
    watcher = new KernelWatcher("flannel.1", handle);
    await one.daemon.stop();
    let present = peers + 1;
    for (let round = 0; round < rounds; round++) {
      for (const [contender, tally] of tallies) {
        const daemon = daemonOn(one, contender);
        const isServed = (): boolean => watcher?.hasPeers(present) ?? false;
        const served = () => untilTrue(performance.now(), isServed, () => daemon.log.slice(-2000));
        daemon.spawn(...net.flags);
        await served();
        const ping = startPing(from.netns, to.address);
        await pause(300);
        await end(daemon, round);
        const { key, value } = benchLease(present);
        net.put(`subnets/${key}`, value);
        present++;
        const startMs = performance.now();
        daemon.spawn(...net.flags);
        await served();
        tally.servedMs.push(performance.now() - startMs);
        await pause(500);
        const answer = await ping.stop();
        tally.sent += answer.sent;
        tally.lost += answer.lost.length;
        await daemon.stop();
      }
    }
  } finally {
    watcher?.close();
    handle?.close();
    await net.dispose();
  }
  for (const [{ name }, { servedMs, sent, lost }] of tallies) {
    const title = `${name}, restart among ${peers} leases`;
    report.figure({ name: `${title}: exec to a new lease served`, unit: "ms", values: servedMs });
    report.figure({ name: `${title}: packets lost`, unit: "packets", values: [lost] });
    report.figure({ name: `${title}: packets sent`, unit: "packets", values: [sent] });
  }
};

/** By turns as an administrator stops it, and as a crash does. */
async function end(daemon: Daemon, round: number): Promise<void> {
  if (round % 2 === 0) await daemon.stop();
  else await daemon.kill();
}
