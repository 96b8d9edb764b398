/** Fifty agents that start at once on one etcd, as after a power cut: until every one of them is complete. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { EtcdLab } from "../support/hosts.ts";
import { cpuMilliseconds, untilTrue } from "./support/bench-host.ts";
import { type Contender, contendersOf, daemonOn } from "./support/contenders.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import type { Bench } from "./support/report.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };

interface Herd {
  readonly lastMs: number;
  readonly exits: number;
  readonly subnets: number;
  /** Of each agent. */
  readonly cpuMs: readonly number[];
}

export const bench: Bench = async (report, { isQuick, compare }) => {
  const hosts = isQuick ? 5 : 50;
  const rounds = isQuick ? 1 : 3;
  const net = new EtcdLab("herd", { hosts, config: CONFIG });
  const herds = new Map<Contender, Herd[]>(contendersOf(compare).map((contender) => [contender, []]));
  try {
    await net.build();
    for (let round = 0; round < rounds; round++) {
      for (const [contender, results] of herds) results.push(await start(net, contender));
    }
  } finally {
    await net.dispose();
  }
  for (const [{ name }, results] of herds) {
    const title = `${name}, ${hosts} agents at once`;
    report.figure({
      name: `${title}: the last one complete`,
      unit: "ms",
      values: results.map((one) => one.lastMs),
    });
    report.figure({
      name: `${title}: processor time of an agent`,
      unit: "ms",
      values: results.flatMap(({ cpuMs }) => cpuMs),
    });
    report.figure({ name: `${title}: exits`, unit: "", values: results.map((one) => one.exits) });
    report.figure({ name: `${title}: subnets leased`, unit: "", values: results.map((one) => one.subnets) });
  }
};

/** A first start of all: no subnet, no device, nothing in the store. */
async function start(net: EtcdLab, contender: Contender): Promise<Herd> {
  const { hosts } = net.lab;
  net.etcd.ctl("del", "--prefix", `${net.prefix}/subnets/`);
  for (const { netns, runDirectory } of hosts) {
    rmSync(join(runDirectory, "flannel"), { recursive: true, force: true });
    netns.exec("sh", ["-c", "ip link delete flannel.1 2>/dev/null || true"]);
  }
  const daemons = hosts.map((host) => daemonOn(host, contender));
  const handles = hosts.map(({ netns }) => NetnsHandle.open(netns.path));
  const watchers = handles.map((handle) => new KernelWatcher("flannel.1", handle));
  try {
    const startMs = performance.now();
    for (const daemon of daemons) daemon.spawn(...net.flags);
    let complete = 0;
    const isComplete = (): boolean => {
      while (complete < hosts.length && watchers[complete]?.hasPeers(hosts.length - 1)) complete++;
      return complete === hosts.length || daemons.some(({ pid }) => pid === null);
    };
    const lastMs = await untilTrue(startMs, isComplete, () => `${complete} of ${hosts.length} are complete`);
    const cpuMs = daemons.flatMap(({ pid }) => (pid === null ? [] : [cpuMilliseconds(pid)]));
    const exits = daemons.filter(({ pid }) => pid === null).length;
    return { lastMs: exits > 0 ? Number.NaN : lastMs, exits, subnets: net.leases().size, cpuMs };
  } finally {
    await Promise.all(daemons.filter(({ pid }) => pid !== null).map((daemon) => daemon.stop()));
    for (const watcher of watchers) watcher.close();
    for (const handle of handles) handle.close();
  }
}
