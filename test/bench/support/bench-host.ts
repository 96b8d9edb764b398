/** The host that a benchmark of the daemon starts from: the benchmark's own network namespace, with an etcd in it. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { StoreConnection } from "../../../ipam/stores/contracts.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type EtcdCluster, startEtcd } from "../../support/etcd.ts";
import { TULLED } from "../../support/programs.ts";
import { BENCH_NETWORK } from "./peers.ts";

export const PREFIX = "/bench/network";
const OWN_AGENT = TULLED;

export interface BenchHost {
  readonly directory: string;
  readonly etcd: EtcdCluster;
  readonly endpoint: string;
  /** A client of the etcd, for what other hosts would do. */
  readonly store: StoreConnection;
  dispose(): Promise<void>;
}

/** Gives this namespace eth0 192.168.50.11/24 and an etcd on the loopback, holding an empty network. */
export async function openBenchHost(): Promise<BenchHost> {
  const directory = mkdtempSync(join(tmpdir(), "tulle-bench-"));
  ip("link add eth0 type veth peer name wire");
  ip("link set wire up");
  ip("link set eth0 up");
  ip("address add 192.168.50.11/24 dev eth0");
  const etcd = await startEtcd();
  etcd.ctl("put", `${PREFIX}/config`, JSON.stringify(BENCH_NETWORK));
  const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
  const store = await openStore({ store: "etcd", etcd: { endpoints: etcd.endpoints } }, environment);
  return {
    directory,
    etcd,
    store,
    endpoint: etcd.endpoints[0] ?? "",
    dispose: async () => {
      await store.close();
      await etcd.stop();
      rmSync(directory, { recursive: true, force: true });
      removeDevice();
      ip("link delete eth0");
    },
  };
}

/** `ip …` in this namespace. Throws with its standard error. */
export function ip(line: string): string {
  return execFileSync("ip", line.split(" "), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Removes what the agent before left, as a reboot does. */
export function removeDevice(): void {
  for (const device of ["flannel.1", "flannel-v6.1"])
    if (ip("-o link").includes(` ${device}:`)) ip(`link delete ${device}`);
}

/** proc(5): utime and stime, fields 14 and 15, in ticks of 10 ms. */
export function cpuMilliseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** proc_pid_smaps_rollup(5): what the process would free by ending, shared pages by their share, in MiB. */
export function proportionalMebibytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1]) / 1024;
}

const PATIENCE_MS = 5_000;

export interface BenchAgent {
  readonly pid: number;
  readonly subnetFile: string;
  readonly output: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts our daemon with `more` flags, or `command` with the flags that flanneld knows. */
export function startAgent(
  host: BenchHost,
  command: readonly string[] | null,
  prefix = PREFIX,
  more: readonly string[] = [],
): BenchAgent {
  const subnetFile = join(host.directory, "subnet.env");
  const flags = [
    `-etcd-endpoints=${host.endpoint}`,
    `-etcd-prefix=${prefix}`,
    "-iface=eth0",
    `-subnet-file=${subnetFile}`,
    ...(command === null
      ? [
          `--state-dir=${host.directory}/state`,
          `--run-dir=${host.directory}/run`,
          "--hold-down=0",
          "--leave-grace=0",
          ...more,
        ]
      : []),
  ];
  const [program = "", ...args] = [...(command ?? OWN_AGENT), ...flags];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  return agentOf(child, subnetFile);
}

function agentOf(child: ChildProcess, subnetFile: string): BenchAgent {
  let output = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-2_048);
  });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    pid: child.pid ?? 0,
    subnetFile,
    get output() {
      return output;
    },
    stop: async (signal = "SIGTERM") => {
      child.kill(signal);
      // Some agents hang when they are told to stop.
      const impatient = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      await gone;
      clearTimeout(impatient);
    },
  };
}

/** Polls every millisecond. Throws with `describe()` after `timeoutMs`. Returns the milliseconds since `startMs`. */
export async function untilTrue(
  startMs: number,
  isTrue: () => boolean,
  describe: () => string,
  timeoutMs = 60_000,
): Promise<number> {
  while (!isTrue()) {
    if (performance.now() - startMs > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return performance.now() - startMs;
}
