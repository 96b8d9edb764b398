/**
 * `docker run` on a named network beside Docker's own bridge network, in alternation: one at a time, 20 at once, and how
 * soon a new container's packets pass. Also how long dockerd waited for each answer of tulled.
 *
 *     npm run bench -- docker-run [--engines own|newest] [--quick]
 */

import { spawn } from "node:child_process";
import { readCallTimes } from "../support/call-times.ts";
import type { DockerHost } from "../support/docker.ts";
import { addressOn, create, DockerLab, networksOf, SLEEP, until } from "../support/docker-lab.ts";
import { NEWEST, OWN } from "../support/engines.ts";
import type { Bench, Report } from "./support/report.ts";

const NETWORKS = ["bench-bridge", "bench-tulle"] as const;
const AT_ONCE = 20;
const PING_SECONDS = 3;

export const bench: Bench = async (report, { isQuick, engines }) => {
  const chosen = engines === "newest" ? NEWEST : OWN;
  report.note(chosen.name);
  const lab = new DockerLab("bench-run", 2, chosen);
  try {
    await lab.build("--log-level=debug", "--log-format=json");
    const [host, other] = [lab.docker(1), lab.docker(2)];
    host.docker("network", "create", NETWORKS[0]);
    create(host, NETWORKS[1]);
    await until(() => networksOf(other).includes(NETWORKS[1]));
    other.runContainer("far", { options: ["--network", NETWORKS[1]], command: SLEEP });
    for (const network of NETWORKS) host.runContainer(`near-${network}`, onNetwork(network));
    await oneAtATime(report, host, isQuick ? 3 : 40);
    await manyAtOnce(report, host, isQuick ? 1 : 10);
    await firstPackets(report, host, other, isQuick ? 2 : 20);
  } finally {
    // Also when a container could not start: they tell which call took too long.
    for (const [method, values] of readCallTimes([lab.docker(1).host.daemon.logFile]))
      report.figure({ name: `dockerd waits for ${method}`, unit: "ms", values });
    await lab.dispose();
  }
};

function onNetwork(network: string) {
  return { options: ["--network", network, "--stop-timeout=0"], command: SLEEP };
}

async function run(docker: DockerHost, name: string, network: string): Promise<number> {
  const startMs = performance.now();
  const { options, command } = onNetwork(network);
  const { ok, text } = await docker.attempt("run", "--detach", "--name", name, ...options, "box", ...command);
  if (!ok) throw new Error(text);
  return performance.now() - startMs;
}

async function oneAtATime(report: Report, docker: DockerHost, rounds: number): Promise<void> {
  const took: number[][] = NETWORKS.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, network] of NETWORKS.entries()) {
      took[at]?.push(await run(docker, "one", network));
      await docker.attempt("rm", "--force", "one");
    }
  }
  compare(report, "docker run", took);
}

async function manyAtOnce(report: Report, docker: DockerHost, rounds: number): Promise<void> {
  const names = Array.from({ length: AT_ONCE }, (_, at) => `many${at}`);
  const last: number[][] = NETWORKS.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, network] of NETWORKS.entries()) {
      const startMs = performance.now();
      await Promise.all(names.map((name) => run(docker, name, network)));
      last[at]?.push(performance.now() - startMs);
      await docker.attempt("rm", "--force", ...names);
    }
  }
  compare(report, `${AT_ONCE} at once: all run`, last);
}

/** From the moment that `docker run` has returned. */
async function firstPackets(
  report: Report,
  docker: DockerHost,
  other: DockerHost,
  rounds: number,
): Promise<void> {
  const near = NETWORKS.map((network) => addressOn(docker, `near-${network}`, network));
  const far = addressOn(other, "far", NETWORKS[1]);
  const cases = [
    { name: "the same host, Docker's bridge", network: NETWORKS[0], to: near[0] ?? "" },
    { name: "the same host, named network", network: NETWORKS[1], to: near[1] ?? "" },
    { name: "another host, named network", network: NETWORKS[1], to: far },
  ];
  const took: number[][] = cases.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, { network, to }] of cases.entries()) {
      await run(docker, "new", network);
      took[at]?.push(await firstReplyMs(docker.docker("inspect", "--format", "{{.State.Pid}}", "new"), to));
      await docker.attempt("rm", "--force", "new");
    }
  }
  for (const [at, { name }] of cases.entries())
    report.figure({ name: `first reply from a container of ${name}`, unit: "ms", values: took[at] ?? [] });
}

/** Asks every 5 ms. */
function firstReplyMs(pid: string, address: string): Promise<number> {
  const ask = ["-n", "-i", "0.005", "-c", "1", "-w", `${PING_SECONDS}`, address];
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn("nsenter", ["--target", pid, "--net", "ping", ...ask], { stdio: "ignore" });
    child.on("error", reject);
    child.on("exit", (code) =>
      code === 0 ? resolve(performance.now() - startMs) : resolve(Number.POSITIVE_INFINITY),
    );
  });
}

function compare(report: Report, what: string, [bridge = [], named = []]: readonly number[][]): void {
  report.figure({ name: `${what}, Docker's bridge`, unit: "ms", values: bridge });
  report.figure({ name: `${what}, named network`, unit: "ms", values: named });
  const more = named.map((value, at) => value - (bridge[at] ?? Number.NaN));
  report.figure({
    name: `${what}: named network more than the bridge, each round`,
    unit: "ms",
    values: more,
  });
}
