/**
 * What a container start waits for: ADD, CHECK and DEL of tulle-cni and of the reference chain (flannel, bridge,
 * host-local), alternately on one machine. With --compare, also of another build of tulle-cni.
 */

import { join } from "node:path";
import process from "node:process";
import { type CniAnswer, type CniContainer, CniHost } from "../support/cni-host.ts";
import { referencePlugins } from "../support/reference-plugins.ts";
import type { Bench, Report } from "./support/report.ts";

interface Contender {
  readonly name: string;
  readonly host: CniHost;
  /** Absent: tulle-cni as it was built. */
  readonly program?: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** The newest version that the reference flannel of Debian knows. */
const CONFIG = { cniVersion: "0.4.0" };
const AT_ONCE = 20;

export const bench: Bench = async (report, { isQuick, compare }) => {
  const contenders = contendersOf(compare);
  try {
    const rounds = isQuick ? 3 : 60;
    measureTurns(report, contenders, rounds);
    for (const contender of contenders) await measureMany(report, contender, isQuick ? 1 : 5);
    for (const contender of contenders) measureUsage(report, contender, isQuick ? 1 : 20);
  } finally {
    for (const { host } of contenders) host.dispose();
  }
};

function contendersOf(compare: readonly string[] | null): readonly Contender[] {
  const [flannel, chain] = [referencePlugins("bullseye"), referencePlugins("bookworm")];
  const newContender = (name: string) => ({ name, host: new CniHost("bench"), environment: {} });
  const [program] = compare ?? [];
  const ours = [
    newContender("tulle-cni"),
    ...(program === undefined ? [] : [{ ...newContender("compared"), program }]),
  ];
  if (flannel === null || chain === null) return ours;
  const theirs = {
    name: "flannel + bridge + host-local",
    host: new CniHost("bench"),
    program: join(flannel, "flannel"),
    environment: { CNI_PATH: chain },
  };
  return [...ours, theirs];
}

function measureTurns(report: Report, contenders: readonly Contender[], rounds: number): void {
  const times = new Map<string, number[]>();
  const note = (title: string, ms: number) => times.set(title, [...(times.get(title) ?? []), ms]);
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      const container = contender.host.addContainer();
      let prevResult = null;
      for (const verb of ["ADD", "CHECK", "DEL"]) {
        const startMs = performance.now();
        const answer = callOnce(contender, verb, container, prevResult);
        note(`${contender.name}: ${verb}`, performance.now() - startMs);
        prevResult ??= answer.json;
      }
      container.netns.dispose();
    }
  }
  for (const [name, values] of [...times].sort()) report.figure({ name, unit: "ms", values });
}

function callOnce(
  { host, program, environment }: Contender,
  verb: string,
  container: CniContainer,
  prevResult: CniAnswer["json"],
): CniAnswer {
  const config = prevResult === null ? CONFIG : { ...CONFIG, prevResult };
  const call = { container, config, environment, ...(program !== undefined && { program }) };
  return requireSuccess(verb, host.call(verb, call));
}

async function measureMany(report: Report, contender: Contender, rounds: number): Promise<void> {
  const { host, program, environment } = contender;
  const times: Record<string, number[]> = { ADD: [], DEL: [] };
  for (let round = 0; round < rounds; round++) {
    const containers = Array.from({ length: AT_ONCE }, () => host.addContainer());
    for (const [verb, values] of Object.entries(times)) {
      const startMs = performance.now();
      const answers = await Promise.all(
        containers.map((container) =>
          host.callAsync(verb, {
            container,
            config: CONFIG,
            environment,
            ...(program !== undefined && { program }),
          }),
        ),
      );
      values.push(performance.now() - startMs);
      for (const answer of answers) requireSuccess(verb, answer);
    }
    for (const { netns } of containers) netns.dispose();
  }
  for (const [verb, values] of Object.entries(times)) {
    report.figure({ name: `${contender.name}: ${AT_ONCE} x ${verb} at once, all`, unit: "ms", values });
  }
}

/** One call in a process that waits for it and tells what it used, in KiB and seconds (getrusage(2)). */
const USAGE = `
import json, resource, subprocess, sys
def usage():
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_maxrss, taken.ru_utime + taken.ru_stime
before = usage()[1]
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
kib, seconds = usage()
print(json.dumps({"kib": kib, "seconds": seconds - before}))
`;

/** The largest process, and the processor time of all: unlike the elapsed time it tells little of other work here. */
function measureUsage(report: Report, contender: Contender, rounds: number): void {
  const memory: number[] = [];
  const times: Record<string, number[]> = { ADD: [], DEL: [] };
  const {
    name,
    host,
    program = join(process.env.TULLE_DIST ?? "dist", "bin/tulle-cni"),
    environment,
  } = contender;
  for (let round = 0; round < rounds; round++) {
    const container = host.addContainer();
    for (const [verb, values] of Object.entries(times)) {
      const command = ["python3", "-c", USAGE, program];
      const answer = host.call(verb, { container, config: CONFIG, environment, program: command });
      if (answer.exitCode !== 0) {
        report.note(`usage is not measured: ${answer.stderr}`);
        return;
      }
      memory.push(answer.json.kib / 1024);
      values.push(answer.json.seconds * 1000);
    }
    container.netns.dispose();
  }
  for (const [verb, values] of Object.entries(times)) {
    report.figure({ name: `${name}: ${verb}, processor time`, unit: "ms", values });
  }
  report.figure({ name: `${name}: peak memory of one process`, unit: "MiB", values: memory });
}

function requireSuccess(verb: string, answer: CniAnswer): CniAnswer {
  if (answer.exitCode !== 0) throw new Error(`${verb}: ${answer.stdout}${answer.stderr}`);
  return answer;
}
