/** One host with an etcd of its own, in a namespace: what a benchmark of the daemon starts from. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EtcdCluster, startEtcd } from "../../support/etcd.ts";
import { createNetns } from "../../support/netns.ts";
import { BENCH_NETWORK, type BenchEtcd } from "./peers.ts";

export const PREFIX = "/bench/network";
const OWN_AGENT = [process.execPath, "dist/bin/tulled"];

export interface BenchHost extends BenchEtcd {
  readonly directory: string;
  readonly etcd: EtcdCluster;
  dispose(): Promise<void>;
}

/** A namespace with eth0 192.168.50.11/24 and etcd on the loopback, holding an empty network. */
export async function openBenchHost(label: string): Promise<BenchHost> {
  const netns = createNetns(label);
  const directory = mkdtempSync(join(tmpdir(), "tulle-bench-"));
  const ip = (line: string): string => netns.exec("ip", line.split(" "));
  ip("link add eth0 type veth peer name wire");
  ip("link set wire up");
  ip("link set eth0 up");
  ip("address add 192.168.50.11/24 dev eth0");
  const etcd = await startEtcd({ netns: { netns, host: "127.0.0.1" } });
  etcd.ctl("put", `${PREFIX}/config`, BENCH_NETWORK);
  return {
    netns,
    directory,
    etcd,
    endpoint: etcd.endpoints[0] ?? "",
    dispose: async () => {
      await etcd.stop();
      netns.dispose();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface BenchAgent {
  readonly pid: number;
  readonly subnetFile: string;
  readonly output: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts our daemon, or `command` with the flags that flanneld knows. */
export function startAgent(host: BenchHost, command: readonly string[] | null): BenchAgent {
  const subnetFile = join(host.directory, "subnet.env");
  const flags = [
    `-etcd-endpoints=${host.endpoint}`,
    `-etcd-prefix=${PREFIX}`,
    "-iface=eth0",
    `-subnet-file=${subnetFile}`,
    ...(command === null
      ? [`--state-dir=${host.directory}/state`, `--run-dir=${host.directory}/run`, "--hold-down=0"]
      : []),
  ];
  const child = spawn("nsenter", [`--net=${host.netns.path}`, ...(command ?? OWN_AGENT), ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
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
      await gone;
    },
  };
}

/** Polls every millisecond. Throws with `describe()` after `timeoutMs`. Answers the milliseconds since `startMs`. */
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
