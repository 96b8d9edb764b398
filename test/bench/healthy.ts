/** False alarms in a healthy network whose agents restart, die, leave and come back. `--minutes`, default 10. */

import process from "node:process";
import { alarmsOf, disturb, isWell } from "../support/healthy-network.ts";
import { EtcdLab } from "../support/hosts.ts";
import { cpuMilliseconds } from "./support/bench-host.ts";
import type { Bench } from "./support/report.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };

export const bench: Bench = async (report, { isQuick, minutes: given }) => {
  const hosts = isQuick ? 4 : 50;
  const minutes = isQuick ? 0.2 : (given ?? 10);
  const net = new EtcdLab("healthy", { hosts, config: CONFIG });
  try {
    await net.build();
    knowEachOther(net);
    await startInGroups(net);
    const disturbed = await disturb(net, minutes, []);
    const settled = await untilWell(net);
    const alarms = alarmsOf(net);
    for (const alarm of alarms.slice(0, 20)) process.stderr.write(`${alarm}\n`);
    const title = `${hosts} hosts, ${minutes} minutes, ${disturbed} agents disturbed`;
    report.figure({ name: `${title}: false alarms`, unit: "", values: [alarms.length] });
    report.figure({ name: `${title}: until all paths are known again`, unit: "ms", values: [settled] });
    report.figure({
      name: `${title}: processor time of an agent since its start`,
      unit: "ms",
      values: net.lab.hosts.map(({ daemon }) => cpuMilliseconds(daemon.pid ?? 0)),
    });
  } finally {
    await net.dispose();
  }
};

/** More at once take longer on two cores than a test waits for one. */
const STARTED_AT_ONCE = 10;

async function startInGroups({ lab: { hosts }, flags }: EtcdLab): Promise<void> {
  for (let start = 0; start < hosts.length; start += STARTED_AT_ONCE)
    await Promise.all(
      hosts.slice(start, start + STARTED_AT_ONCE).map(({ daemon }) => daemon.start(...flags)),
    );
}

const PATIENCE_MS = 180_000;

async function untilWell(net: EtcdLab): Promise<number> {
  const startMs = performance.now();
  while (!(await isWell(net))) {
    if (performance.now() - startMs > PATIENCE_MS) throw new Error("the network is not well again");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return performance.now() - startMs;
}

/**
 * Permanent neighbours on the LAN: all namespaces share the machine's table, which has room for 1,024 others
 * (net.ipv4.neigh.default.gc_thresh3), fewer than one in each host for each other host.
 */
function knowEachOther({ lab: { hosts } }: EtcdLab): void {
  const neighbours = hosts.map(({ netns, addresses }) => {
    const [, mac = ""] = /link\/ether (\S+)/.exec(netns.exec("ip", ["link", "show", "eth0"])) ?? [];
    return `${addresses[4]} lladdr ${mac}`;
  });
  for (const { netns, addresses } of hosts) {
    const others = neighbours.filter((neighbour) => !neighbour.startsWith(`${addresses[4]} `));
    netns.ip(...others.map((neighbour) => `neighbour replace ${neighbour} dev eth0 nud permanent`));
  }
}
