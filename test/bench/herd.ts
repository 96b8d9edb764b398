/** Fifty agents that start at once on one etcd, as after a power cut: until every one of them is complete. */

import { EtcdLab } from "../support/hosts.ts";
import { cpuMilliseconds } from "./support/bench-host.ts";
import type { Bench } from "./support/report.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };

export const bench: Bench = async (report, { isQuick }) => {
  const hosts = isQuick ? 5 : 50;
  const net = new EtcdLab("herd", { hosts, config: CONFIG });
  try {
    await net.build();
    const startMs = performance.now();
    for (const host of net.lab.hosts) host.daemon.spawn(...net.flags);
    // One after another: asking all of them all the time would keep them from their work.
    for (const { daemon } of net.lab.hosts) {
      await daemon.until(
        ({ isReady, peers }) => isReady && peers.length === hosts - 1,
        "knows all the others",
      );
    }
    report.figure({
      name: `${hosts} agents at once: the last one complete`,
      unit: "ms",
      values: [performance.now() - startMs],
    });
    report.figure({
      name: `${hosts} agents at once: processor time of an agent`,
      unit: "ms",
      values: net.lab.hosts.flatMap(({ daemon: { pid } }) => (pid === null ? [] : [cpuMilliseconds(pid)])),
    });
    const ended = net.lab.hosts.filter(({ daemon }) => daemon.pid === null);
    report.figure({ name: `${hosts} agents at once: exits`, unit: "", values: [ended.length] });
    const subnets = new Set(net.leases().keys());
    report.figure({
      name: `${hosts} agents at once: subnets leased`,
      unit: "",
      values: [subnets.size],
    });
  } finally {
    await net.dispose();
  }
};
