/**
 * Hours of churn: an agent on Node and one in the executable, on two hosts of one network.
 *
 * Leases of other hosts come and go, etcd stops for 20 s every three minutes, devices are deleted, status and metrics are
 * asked for. Each minute shows what both agents hold: a leak is a trend, a difference between the runtimes two trends.
 */

import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Daemon } from "../../agent/demo/daemon.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { untilReady } from "../support/daemon.ts";
import { EtcdLab, type Host, onNode, PROGRAMS } from "../support/hosts.ts";
import { type Random, randomNumbers } from "../support/random.ts";
import { cpuMilliseconds, untilTrue } from "./support/bench-host.ts";
import { KernelWatcher } from "./support/kernel-view.ts";
import { BENCH_NETWORK, deleteBenchLeases, putBenchLeases } from "./support/peers.ts";
import type { Bench, Report } from "./support/report.ts";

export const isByHand = true;

const PEERS = 1_000;
const SAMPLE_MS = 60_000;
const OUTAGE_EVERY_MS = 180_000;
const OUTAGE_MS = 20_000;
/** Other work on the machine may hold its disk for long. */
const STORE_PATIENCE_MS = 300_000;
const DAMAGE_EVERY_MS = 300_000;
const FLAGS = ["--healthz-ip=127.0.0.1", "--healthz-port=8099", "--hold-down=0", "--leave-grace=0"];

export const bench: Bench = async (report, { isQuick, minutes, seed }) => {
  const net = new EtcdLab("soak", { hosts: 2, config: BENCH_NETWORK, isStoreApart: true });
  const subjects: Subject[] = [];
  try {
    await net.build();
    subjects.push(new Subject("Node", net.host(1), onNode("tulled")));
    subjects.push(new Subject("executable", net.host(2), [`${PROGRAMS}/tulle`, "tulled"]));
    const churn = new Churn(net, randomNumbers(seed));
    for (const subject of subjects) subject.daemon.spawn(...net.flags, ...FLAGS);
    await soak(report, subjects, churn, (isQuick ? 1 : (minutes ?? 180)) * 60_000);
  } finally {
    for (const subject of subjects) await subject.end();
    await net.dispose();
  }
};

/** Until `durationMs` is over; at the end both kernels must hold what the store holds. */
async function soak(
  report: Report,
  subjects: readonly Subject[],
  churn: Churn,
  durationMs: number,
): Promise<void> {
  const startMs = performance.now();
  const due = timetable(startMs);
  while (performance.now() - startMs < durationMs) {
    churn.step();
    if (due(DAMAGE_EVERY_MS)) for (const subject of subjects) subject.deleteDevice();
    if (due(OUTAGE_EVERY_MS)) await churn.outage();
    if (due(SAMPLE_MS)) for (const subject of subjects) await subject.sample(report, churn.changes);
    await pause(2_000);
  }
  for (const subject of subjects) await subject.converged(churn.present + subjects.length - 1);
  for (const subject of subjects) subject.figures(report, churn.changes);
}

/** Says for each interval whether it has passed again. */
function timetable(startMs: number): (intervalMs: number) => boolean {
  const counts = new Map<number, number>();
  return (intervalMs) => {
    const count = Math.floor((performance.now() - startMs) / intervalMs);
    const isDue = count > (counts.get(intervalMs) ?? 0);
    counts.set(intervalMs, count);
    return isDue;
  };
}

/** Leases 0 ≤ index < `present` are in the store. */
class Churn {
  changes = 0;
  present = 0;
  readonly #net: EtcdLab;
  readonly #random: Random;

  constructor(net: EtcdLab, random: Random) {
    this.#net = net;
    this.#random = random;
  }

  /** Adds or removes up to a hundred leases. */
  step(): void {
    const count = Math.min(PEERS, Math.max(0, this.present - 100 + this.#random(201)));
    const { etcd, prefix } = this.#net;
    if (count > this.present) putBenchLeases(etcd, prefix, this.present, count);
    else deleteBenchLeases(etcd, prefix, count, this.present);
    this.changes += Math.abs(count - this.present);
    this.present = count;
  }

  async outage(): Promise<void> {
    const [member] = this.#net.etcd.members;
    await member?.kill();
    await pause(OUTAGE_MS);
    await member?.start({ wait: false });
    const answers = async (): Promise<boolean> => this.#net.etcd.ctl("get", "unknown") === "";
    await untilReady(answers, () => "etcd after its outage", STORE_PATIENCE_MS);
  }
}

interface Holding {
  readonly anonymousMebibytes: number;
  readonly descriptors: number;
}

class Subject {
  readonly daemon: Daemon;
  readonly #name: string;
  readonly #host: Host;
  readonly #handle: NetnsHandle;
  readonly #watcher: KernelWatcher;
  readonly #holdings: Holding[] = [];

  constructor(name: string, host: Host, command: readonly string[]) {
    this.#name = name;
    this.#host = host;
    this.daemon = new Daemon({
      command: host.enter("setpriv", "--pdeathsig", "KILL", ...command),
      runDirectory: host.runDirectory,
      logFile: `${host.runDirectory}/soak.log`,
    });
    this.#handle = NetnsHandle.open(host.netns.path);
    this.#watcher = new KernelWatcher("flannel.1", this.#handle);
  }

  deleteDevice(): void {
    this.#host.netns.exec("sh", ["-c", "ip link delete flannel.1 || true"]);
  }

  /** Throws when the process has ended. */
  async sample(report: Report, changes: number): Promise<void> {
    const { pid } = this.daemon;
    if (pid === null) throw new Error(`${this.#name}: tulled has ended:\n${this.daemon.log.slice(-2_000)}`);
    await this.daemon.status();
    this.#host.netns.exec("curl", ["-s", "-o", "/dev/null", "http://127.0.0.1:8099/metrics"]);
    const holding = {
      anonymousMebibytes: anonymousMebibytes(pid),
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    };
    this.#holdings.push(holding);
    const { anonymousMebibytes: memory, descriptors } = holding;
    const cpu = (cpuMilliseconds(pid) / 1000).toFixed(1);
    report.note(
      `${this.#name}: ${changes} changes, ${memory.toFixed(1)} MiB, ${descriptors} descriptors, ${cpu} s`,
    );
  }

  /** Throws with what is wrong when the kernel does not hold `peers` peers within a minute. */
  async converged(peers: number): Promise<void> {
    await untilTrue(
      performance.now(),
      () => this.#watcher.hasPeers(peers),
      () => `${this.#name}: not ${peers} peers: ${this.daemon.log.slice(-2_000)}`,
    );
  }

  /** The first and the last third apart: between them a leak shows. */
  figures(report: Report, changes: number): void {
    const third = Math.max(1, Math.floor(this.#holdings.length / 3));
    const title = `${this.#name}, ${changes} changes of leases`;
    for (const [part, holdings] of [
      ["first third", this.#holdings.slice(0, third)],
      ["last third", this.#holdings.slice(-third)],
    ] as const) {
      const memory = holdings.map(({ anonymousMebibytes }) => anonymousMebibytes);
      const descriptors = holdings.map(({ descriptors }) => descriptors);
      report.figure({ name: `${title}, ${part}: anonymous memory`, unit: "MiB", values: memory });
      report.figure({ name: `${title}, ${part}: descriptors`, unit: "", values: descriptors });
    }
    const { pid } = this.daemon;
    const cpu = pid === null ? [] : [cpuMilliseconds(pid) / 1000];
    report.figure({ name: `${title}: processor time`, unit: "s", values: cpu });
  }

  async end(): Promise<void> {
    if (this.daemon.pid !== null) await this.daemon.stop();
    this.#watcher.close();
    this.#handle.close();
  }
}

/** proc_pid_smaps_rollup(5): memory that no file backs, in MiB. Pages of the program itself can be read again. */
function anonymousMebibytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Anonymous:\s+(\d+) kB$/m.exec(text)?.[1]) / 1024;
}
