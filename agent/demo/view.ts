/** What the demo shows: its steps as they run, the subnets of the hosts, the round trips between containers. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Cell, formatTable } from "../terminal/table.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { Container, Host, Lab } from "./lab.ts";
import type { PingReport } from "./ping.ts";

/** Wide enough for the longest title. */
const TITLE_WIDTH = 60;
/** Beside a title: its mark, and the time that the step took. */
const MARK_WIDTH = 4;
const TIME_WIDTH = 8;

/** Shows the title while the step runs, then whether it succeeded and how long it took. */
export async function showStep<T>(out: Terminal, title: string, step: () => T | Promise<T>): Promise<T> {
  const startedMs = performance.now();
  const columns = out.columns ?? Number.POSITIVE_INFINITY;
  const width = Math.min(TITLE_WIDTH, columns - MARK_WIDTH - TIME_WIDTH);
  // A line that had to be broken cannot be written over.
  const isRewritten = out.isInteractive && title.length + MARK_WIDTH < columns;
  const end = (mark: string): void => {
    const seconds = `${((performance.now() - startedMs) / 1000).toFixed(2)} s`;
    if (isRewritten) out.restartLine();
    out.write(`  ${mark} ${title.padEnd(width)} ${out.style("dim", seconds)}\n`);
  };
  if (isRewritten) out.write(`  ${out.style("dim", "…")} ${title}`);
  try {
    const result = await step();
    end(out.style("green", "✔"));
    return result;
  } catch (error) {
    end(out.style("red", "✘"));
    throw error;
  }
}

/** One line per host. */
export function subnetTable(hosts: readonly Host[], out: Terminal): string {
  const rows = hosts.map((host) => {
    const { subnets, mtuBytes } = host.subnetEnv();
    const subnet = subnets[4];
    return [
      { style: "bold", text: host.name } as const,
      host.address,
      { style: "cyan", text: subnet === undefined ? "none" : `${subnet.address}/${subnet.length}` } as const,
      `${mtuBytes}`,
      host.containers
        .map(({ name, address }) => `${name.replace(`${host.name}-`, "")} ${address}`)
        .join("  "),
    ];
  });
  const columns = ["HOST", "ADDRESS", "SUBNET", "MTU", "CONTAINERS"].map((title) => ({ title }));
  return formatTable(columns, rows, out);
}

/** Round trips from every container to every other, in milliseconds. */
export function pingMatrix(
  containers: readonly Container[],
  reportOf: (from: Container, to: Container) => PingReport | null,
  out: Terminal,
): string {
  const rows = containers.map((from) => [
    { style: "bold", text: from.name } as const,
    ...containers.map((to) => pingCell(reportOf(from, to))),
  ]);
  const columns = containers.map(({ name }) => ({ title: name, align: "right" as const }));
  return formatTable([{ title: "PING ms" }, ...columns], rows, out);
}

function pingCell(report: PingReport | null): Cell {
  if (report === null) return { style: "dim", text: "·" };
  if (report.lost.length > 0) return { style: "red", text: `${report.lost.length} lost` };
  return { style: "green", text: median(report.roundTripMs).toFixed(3) };
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

export interface KeepHintOptions {
  /** The file of the program tulle. */
  readonly tulle: string;
  /** Command that enters the namespaces of the lab; null where that is not needed. */
  readonly entering: string | null;
  /** PATH of the person: commands that are not found there are left out. */
  readonly searchPath: string;
}

/** Commands to look around in a lab that stays up. */
export function keepHint(lab: Lab, { tulle, entering, searchPath }: KeepHintOptions, out: Terminal): string {
  const [host] = lab.hosts;
  const [container] = host?.containers ?? [];
  const target = lab.hosts.at(-1)?.containers[0];
  if (host === undefined || container === undefined || target === undefined) return "";
  const optional: readonly (readonly [needs: readonly string[], command: string])[] = [
    [["ip"], `ip netns exec ${host.netns.name} ip route`],
    [["ip"], `ip netns exec ${host.netns.name} ip -d link show flannel.1`],
    [["ping"], `nsenter --net=${container.netns.path} ping -c 3 ${target.address}`],
  ];
  const commands = [
    ...(entering === null ? [] : [entering]),
    ...optional.flatMap(([needs, command]) =>
      needs.every((program) => isFound(program, searchPath)) ? [command] : [],
    ),
    `cat ${host.runDirectory}/flannel/subnet.env`,
    `${tulle} status --run-dir=${host.runDirectory}/tulle`,
    `tail -f ${host.daemon.logFile}`,
  ];
  const lines = commands.map((command) => `  ${out.style("cyan", command)}\n`).join("");
  return `\nThe hosts stay up. Examine them from another terminal:\n\n${lines}\nCtrl-C removes it.\n`;
}

function isFound(program: string, searchPath: string): boolean {
  return searchPath.split(":").some((folder) => existsSync(join(folder, program)));
}
