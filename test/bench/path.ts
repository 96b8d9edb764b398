/**
 * What our rules cost each packet: two containers over our tunnel with either engine, beside a VXLAN made by hand with
 * flannel's rules and a second one like it, which shows the noise. One process on one core sends and receives, so that
 * other work on the machine hardly counts.
 */

import type { Lab } from "../support/hosts.ts";
import { overlayByHand, overlayByTulled } from "./support/overlays.ts";
import { measurePaths, type PathCost } from "./support/path-cost.ts";
import type { Bench } from "./support/report.ts";

const NAMES = ["tulled with iptables", "tulled with nft", "by hand, once more"];

export const bench: Bench = async (report, { isQuick }) => {
  const [runs, rounds] = isQuick ? [1, 50] : [10, 400];
  const labs: Lab[] = [];
  try {
    const overlays = [
      overlayByHand(labs),
      await overlayByTulled(labs, "--firewall=iptables"),
      await overlayByTulled(labs, "--firewall=nft"),
      overlayByHand(labs),
    ];
    const costs = Array.from({ length: runs }, () => measurePaths(rounds, overlays));
    const tell = (what: string, cost: (pair: PathCost) => number): void => {
      const ns = costs.map(([usual]) => cost(usual as PathCost));
      report.figure({ name: `by hand, with flannel's rules: ${what}`, unit: "ns", values: ns });
      NAMES.forEach((name, index) => {
        const ratios = costs.map((pairs, run) => cost(pairs[index + 1] as PathCost) / (ns[run] as number));
        report.figure({ name: `${name}, times by hand: ${what}`, unit: "", values: ratios });
      });
    };
    tell("a datagram of 64 bytes", ({ datagramNs }) => datagramNs);
    tell("1 MB over TCP", ({ streamNs }) => streamNs);
  } finally {
    for (const lab of labs) lab.dispose();
  }
};
