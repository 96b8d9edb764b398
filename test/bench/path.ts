/**
 * What our rules cost each packet: two containers over our tunnel with either engine, beside a VXLAN made by hand with
 * flannel's rules and a second one like it, which shows the noise. One process on one core sends and receives, so that
 * other work on the machine hardly counts. Needs a C compiler.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Lab } from "../support/hosts.ts";
import { type Overlay, overlayByHand, overlayByTulled } from "./support/overlays.ts";
import type { Bench } from "./support/report.ts";

/** In the checkout, where npm starts the benchmarks. */
const SOURCE = "test/bench/support/path-cost.c";
const NAMES = ["tulled with iptables", "tulled with nft", "by hand, once more"];

export const bench: Bench = async (report, { isQuick }) => {
  const [runs, rounds] = isQuick ? [1, 50] : [10, 400];
  const folder = mkdtempSync(join(tmpdir(), "tulle-path-"));
  const labs: Lab[] = [];
  try {
    const program = join(folder, "path-cost");
    execFileSync("cc", ["-O2", "-o", program, join(process.cwd(), SOURCE)]);
    const byHand = overlayByHand(labs);
    const others = [
      await overlayByTulled(labs, "--firewall=iptables"),
      await overlayByTulled(labs, "--firewall=nft"),
      overlayByHand(labs),
    ];
    const costs = Array.from({ length: runs }, () => measure(program, rounds, [byHand, ...others]));
    const tell = (what: string, cost: (pair: Cost) => number): void => {
      const ns = costs.map(([usual]) => cost(usual as Cost));
      report.figure({ name: `by hand, with flannel's rules: ${what}`, unit: "ns", values: ns });
      NAMES.forEach((name, index) => {
        const ratios = costs.map((pairs, run) => cost(pairs[index + 1] as Cost) / (ns[run] as number));
        report.figure({ name: `${name}, times by hand: ${what}`, unit: "", values: ratios });
      });
    };
    tell("a datagram of 64 bytes", ({ datagramNs }) => datagramNs);
    tell("1 MB over TCP", ({ streamNs }) => streamNs);
  } finally {
    for (const lab of labs) lab.dispose();
    rmSync(folder, { recursive: true });
  }
};

/** The lower quartile of many, because only that is free of interruptions. */
interface Cost {
  readonly datagramNs: number;
  readonly streamNs: number;
}

/** Measures all of them in turns. */
function measure(program: string, rounds: number, overlays: readonly Overlay[]): readonly Cost[] {
  const pairs = overlays.flatMap(({ from, to }) => [from.netns.path, to.netns.path, to.address]);
  const output = execFileSync(program, [String(rounds), ...pairs], { encoding: "utf8" });
  return output
    .trim()
    .split("\n")
    .map((line) => {
      const [datagramNs = Number.NaN, streamNs = Number.NaN] = line.split(" ").map(Number);
      return { datagramNs, streamNs };
    });
}
