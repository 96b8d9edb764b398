/**
 * Drops packets between a host and its LAN silently, as a firewall or a broken cable does: no error is sent, and
 * connections stay open.
 */

import type { TestNetns } from "./netns.ts";

export interface CutOptions {
  /** What the host hears, what it says, or both. Default both. */
  readonly directions?: readonly ("INPUT" | "OUTPUT")[];
  /** Share of the packets that get lost, by chance. Default all. */
  readonly share?: number;
}

/** Cuts until the answer is called. */
export function cutOff(netns: TestNetns, options: CutOptions = {}): () => void {
  const { directions = ["INPUT", "OUTPUT"], share = 1 } = options;
  const chance = share < 1 ? ["-m", "statistic", "--mode", "random", "--probability", String(share)] : [];
  const rules = directions.map((chain) => {
    const side = chain === "INPUT" ? "--in-interface" : "--out-interface";
    return [chain, side, "eth0", ...chance, "-j", "DROP"];
  });
  for (const rule of rules) netns.exec("iptables", ["--wait", "-A", ...rule]);
  return () => {
    for (const rule of rules) netns.exec("iptables", ["--wait", "-D", ...rule]);
  };
}
