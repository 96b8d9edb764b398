/**
 * Drops packets between a host and its LAN silently, as a firewall or a broken cable does: no error is sent, and
 * connections stay open.
 */

import type { TestNetns } from "./netns.ts";

export interface CutOptions {
  /** What the host hears, what it says, or both. Default both. */
  readonly directions?: readonly ("INPUT" | "OUTPUT")[];
  /** Of the only machine that the host is cut off from. Default every one. */
  readonly address?: string;
  /** Share of the packets that get lost, by chance. Default all. */
  readonly share?: number;
}

/** Cuts until the answer is called. */
export function cutOff(netns: TestNetns, options: CutOptions = {}): () => void {
  const { directions = ["INPUT", "OUTPUT"], share = 1, address } = options;
  const chance = share < 1 ? ["-m", "statistic", "--mode", "random", "--probability", String(share)] : [];
  const rules = directions.map((chain) => {
    const side = chain === "INPUT" ? "--in-interface" : "--out-interface";
    const end = chain === "INPUT" ? "--source" : "--destination";
    const peer = address === undefined ? [] : [end, address];
    return [chain, side, "eth0", ...peer, ...chance, "-j", "DROP"];
  });
  for (const rule of rules) netns.exec("iptables", ["--wait", "-A", ...rule]);
  return () => {
    for (const rule of rules) netns.exec("iptables", ["--wait", "-D", ...rule]);
  };
}
