/**
 * What probing costs an agent with thousands of peers that answer, and how long a fault takes until its cause is in the
 * status, for a peer in use.
 *
 * One namespace answers for all peers: the kernel accepts packets to every address of a local route.
 */

import { join } from "node:path";
import { askControl } from "../../agent/report/control.ts";
import type { StatusReport } from "../../agent/report/status.ts";
import { EtcdLab, startPing } from "../support/hosts.ts";
import { createNetns, type TestNetns } from "../support/netns.ts";
import {
  type BenchAgent,
  type BenchHost,
  cpuMilliseconds,
  ip,
  openBenchHost,
  PREFIX,
  proportionalMebibytes,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { putBenchLeases } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

export const bench: Bench = async (report, { isQuick }) => {
  await measureCost(report, isQuick ? 100 : 5_000, isQuick ? QUICK : FULL);
  await measureNaming(report, isQuick ? 1 : 3);
};

interface Times {
  /** What a start compiles, and the first probes of all peers, are over by then. */
  readonly settleMs: number;
  readonly idleMs: number;
}

const QUICK: Times = { settleMs: 3_000, idleMs: 3_000 };
const FULL: Times = { settleMs: 300_000, idleMs: 60_000 };

async function measureCost(report: Report, peers: number, { settleMs, idleMs }: Times): Promise<void> {
  const host = await openBenchHost();
  const answerer = createNetns("answerer");
  try {
    ip(`link set wire netns ${answerer.name}`);
    ip("route add 172.16.0.0/12 via 192.168.50.1");
    putBenchLeases(host.etcd, PREFIX, 0, peers);
    for (const rate of [0, 20]) {
      const { agent, watcher } = await startAmong(host, answerer, peers, rate);
      try {
        await pause(settleMs);
        const before = cpuMilliseconds(agent.pid);
        await pause(idleMs);
        const title = `${peers} peers, --probe-rate=${rate}`;
        const share = ((cpuMilliseconds(agent.pid) - before) / idleMs) * 100;
        report.figure({ name: `${title}: share of a core in percent`, unit: "", values: [share] });
        // Before the status is asked for, whose text of thousands of peers stays until the next collection.
        const memory = [proportionalMebibytes(agent.pid)];
        report.figure({ name: `${title}: proportional memory`, unit: "MiB", values: memory });
        if (rate > 0) {
          const states = await statesOf(host);
          report.figure({
            name: `${title}: peers known to be reached`,
            unit: "",
            values: [states.good ?? 0],
          });
          report.figure({ name: `${title}: peers called broken`, unit: "", values: [states.bad ?? 0] });
        }
      } finally {
        watcher.close();
        await agent.stop();
      }
    }
  } finally {
    answerer.dispose();
    await host.dispose().catch(() => undefined); // its interface went with the namespace
  }
}

/** How many peers are in which state. */
async function statesOf({ directory }: BenchHost): Promise<Readonly<Record<string, number>>> {
  const answer = await askControl(join(directory, "run"), "/status", AbortSignal.timeout(10_000));
  const { peers } = answer as StatusReport;
  const counts: Record<string, number> = {};
  for (const { health } of peers) {
    const state = health?.state ?? "unknown";
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}

async function startAmong(
  host: BenchHost,
  answerer: TestNetns,
  peers: number,
  rate: number,
): Promise<{ readonly agent: BenchAgent; readonly watcher: KernelWatcher }> {
  removeDevice();
  const watcher = new KernelWatcher("flannel.1");
  const agent = startAgent(host, null, PREFIX, [`--probe-rate=${rate}`]);
  await untilTrue(
    performance.now(),
    () => watcher.hasPeers(peers),
    () => agent.output,
  );
  answerForAll(answerer);
  return { agent, watcher };
}

/** Gives the namespace the address of every peer, inside and outside of the tunnel. */
function answerForAll(answerer: TestNetns): void {
  const [, mac = ""] = /link\/ether (\S+)/.exec(ip("link show flannel.1")) ?? [];
  const [, base = ""] = /inet (\S+)\/32/.exec(ip("address show flannel.1")) ?? [];
  answerer.exec("sh", [
    "-c",
    "ip link delete flannel.1 2>/dev/null; nft delete table netdev answerer 2>/dev/null; true",
  ]);
  answerer.ip(
    "link set wire up",
    "address replace 192.168.50.1/24 dev wire",
    "route replace local 172.16.0.0/12 dev lo",
    "route replace local 10.32.0.0/11 dev lo",
    "link add flannel.1 type vxlan id 1 dstport 8472 local 192.168.50.1 dev wire nolearning",
    "link set flannel.1 mtu 1450 up",
    `route add ${base}/32 dev flannel.1`,
    `neighbour add ${base} lladdr ${mac} dev flannel.1 nud permanent`,
  );
  answerer.exec("bridge", ["fdb", "add", mac, "dev", "flannel.1", "dst", "192.168.50.11"]);
  // Frames are for the hardware addresses of the peers.
  answerer.exec("nft", [
    "add table netdev answerer; " +
      "add chain netdev answerer c { type filter hook ingress device flannel.1 priority 0; }; " +
      "add rule netdev answerer c meta pkttype set unicast",
  ]);
}

interface Fault {
  readonly code: string;
  readonly make: string;
  readonly undo: string;
}

const drop = (chain: string, rule: string): string =>
  `nft 'add table inet fault; add chain inet fault c { type filter hook ${chain} priority -500; }; add rule inet fault c ${rule} drop'`;
const UNDROP = "nft delete table inet fault";

/** On the peer. */
const FAULTS: readonly Fault[] = [
  { code: "tunnel-filtered", make: drop("input", "udp dport 8472"), undo: UNDROP },
  { code: "large-packets-lost", make: drop("input", "udp dport 8472 meta length gt 1330"), undo: UNDROP },
  { code: "host-down", make: "ip link set eth0 down", undo: "ip link set eth0 up" },
];

async function measureNaming(report: Report, rounds: number): Promise<void> {
  const net = new EtcdLab("naming", {
    hosts: 3,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });
  try {
    await net.build();
    await net.startAll();
    const [watcher, peer] = [net.host(1), net.host(2)];
    const running = startPing(watcher.addContainer().netns, peer.addContainer().address);
    const isState = (state: string, code: string | null) => () =>
      watcher.daemon.until(
        ({ peers }) =>
          peers.some(({ health }) => health?.cause?.code === code && health.state === state) ||
          (code === null && peers.every(({ health }) => health?.state === state)),
        `${state} ${code ?? ""}`,
      );
    await isState("good", null)();
    for (const { code, make, undo } of FAULTS) {
      const values: number[] = [];
      for (let round = 0; round < rounds; round++) {
        await pause(10_000); // until the peer counts as in use
        const startMs = performance.now();
        peer.run("sh", "-c", make);
        await isState("bad", code)();
        values.push(performance.now() - startMs);
        peer.run("sh", "-c", undo);
        await isState("good", null)();
      }
      report.figure({ name: `a fault of a peer in use, until it is named: ${code}`, unit: "ms", values });
    }
    await running.stop();
  } finally {
    await net.dispose();
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
