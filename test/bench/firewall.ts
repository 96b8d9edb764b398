/**
 * How long the firewall stays wrong after a flush by another program, until the kernel announces the last of our
 * rules, and what a pass that finds nothing costs.
 */

import { watchFirewall } from "../../backends/firewall/events.ts";
import { FirewallGuard } from "../../backends/firewall/guard.ts";
import { planFirewall } from "../../backends/firewall/plan.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { FIREWALL_INPUT } from "../support/firewall-input.ts";
import { createNetns } from "../support/netns.ts";
import type { Bench } from "./support/report.ts";

export const bench: Bench = async (report, { isQuick }) => {
  const plan = planFirewall(FIREWALL_INPUT);
  for (const choice of ["iptables", "nft"] as const) {
    const host = createNetns("fwbench");
    const handle = NetnsHandle.open(host.path);
    const guard = new FirewallGuard({
      choice,
      resyncSeconds: 3600,
      log: silentLogger,
      clock: systemClock,
      commandPrefix: ["nsenter", `--net=${host.path}`],
      netns: handle,
    });
    let announcedMs = 0;
    const monitor = watchFirewall({
      netns: handle,
      onChange: () => {
        announcedMs = performance.now();
      },
      onError: (error) => {
        throw error;
      },
    });
    const [repaired, idle]: [number[], number[]] = [[], []];
    try {
      guard.start();
      await guard.update(null, plan);
      for (let round = 0; round < (isQuick ? 2 : 20); round++) {
        await pause(1000);
        const { repairs } = guard.status();
        host.exec("nft", ["flush", "ruleset"]);
        const flushedMs = performance.now();
        monitor.drain();
        announcedMs = flushedMs;
        while (guard.status().repairs === repairs) await pause(1);
        repaired.push(announcedMs - flushedMs);
        await pause(500);
        const startMs = performance.now();
        await guard.update(null, plan);
        idle.push(performance.now() - startMs);
      }
    } finally {
      await guard.stop();
      monitor.close();
      handle.close();
      host.dispose();
    }
    report.figure({ name: `${choice}: from a flush until our rules are back`, unit: "ms", values: repaired });
    report.figure({ name: `${choice}: a pass that finds nothing`, unit: "ms", values: idle });
  }
};

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
