/**
 * Whether the kernel could carry more between containers than with flannel's way of setting it up: one change at a
 * time to an overlay made by hand, alternating with one without it. Needs ethtool for two of them.
 */

import { errorMessage } from "../../ipam/errors.ts";
import type { Lab } from "../support/hosts.ts";
import { type Overlay, overlayByHand } from "./support/overlays.ts";
import { measurePaths, type PathCost } from "./support/path-cost.ts";
import type { Bench } from "./support/report.ts";

/** What is done on both hosts, and undone again: shell commands. */
interface Change {
  readonly name: string;
  readonly apply: string;
  readonly undo: string;
}

const NOTRACK = "iptables -t raw -A PREROUTING $rule; iptables -t raw -A OUTPUT $rule";

const CHANGES: readonly Change[] = [
  { name: "nothing, for the noise", apply: "", undo: "" },
  {
    name: "NOTRACK for the tunnel",
    apply: `rule="-p udp --dport 8472 -j CT --notrack"; ${NOTRACK}`,
    undo: "iptables -t raw -F; nft delete table ip raw",
  },
  {
    name: "NOTRACK between containers",
    apply: `rule="-s 10.2.0.0/16 -d 10.2.0.0/16 -j CT --notrack"; ${NOTRACK}`,
    undo: "iptables -t raw -F; nft delete table ip raw",
  },
  {
    name: "a flowtable between docker0 and the tunnel",
    apply: `nft 'table inet fast {
      flowtable ways {
        hook ingress priority 0
        devices = { docker0, flannel.1 }
      }
      chain forward {
        type filter hook forward priority -10
        meta l4proto { tcp, udp } flow add @ways
      }
    }'`,
    undo: "nft delete table inet fast",
  },
  {
    name: "bridge-nf-call-iptables=0",
    apply: "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
    undo: "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
  },
  {
    name: "an interface that cannot segment tunnels",
    apply: "ethtool -K eth0 tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off",
    undo: "ethtool -K eth0 tx-udp_tnl-segmentation on tx-udp_tnl-csum-segmentation on",
  },
  {
    name: "a tunnel device without checksum offload",
    apply: "ethtool -K flannel.1 tx-checksum-ip-generic off",
    undo: "ethtool -K flannel.1 tx-checksum-ip-generic on",
  },
];

export const bench: Bench = async (report, { isQuick }) => {
  const [runs, rounds] = isQuick ? [1, 50] : [5, 400];
  const labs: Lab[] = [];
  try {
    const [usual, changed] = [overlayByHand(labs), overlayByHand(labs)];
    const tell = (name: string, other: Overlay): void => {
      const costs = Array.from({ length: runs }, () => measurePaths(rounds, [usual, other]));
      const ratios = (cost: (pair: PathCost) => number): number[] =>
        costs.map(([before, after]) => cost(after as PathCost) / cost(before as PathCost));
      const [datagram, stream] = [ratios(({ datagramNs }) => datagramNs), ratios(({ streamNs }) => streamNs)];
      report.figure({ name: `${name}: a datagram, times the usual`, unit: "", values: datagram });
      report.figure({ name: `${name}: 1 MB over TCP, times the usual`, unit: "", values: stream });
    };
    for (const change of CHANGES) {
      const obstacle = obstacleTo(change, changed);
      if (obstacle !== null) {
        report.note(`${change.name}: not measured, ${obstacle}`);
        continue;
      }
      onBothHosts(changed, change.apply);
      tell(change.name, changed);
      onBothHosts(changed, change.undo);
    }
    tell("no checksum outside the tunnel's packets", overlayByHand(labs, "noudpcsum"));
    const bare = overlayByHand(labs);
    onBothHosts(bare, "nft flush ruleset");
    tell("no rule at all, and so no connection tracking", bare);
  } finally {
    for (const lab of labs) lab.dispose();
  }
};

/** Why this machine cannot make the change: no such tool, or a kernel without it. */
function obstacleTo({ apply, undo }: Change, overlay: Overlay): string | null {
  try {
    onBothHosts(overlay, apply);
  } catch (error) {
    return (
      errorMessage(error)
        .split("\n")
        .find((line) => /error|not found/i.test(line)) ?? "refused"
    );
  }
  onBothHosts(overlay, undo);
  return null;
}

function onBothHosts({ lab }: Overlay, script: string): void {
  for (const { netns } of lab.hosts) netns.exec("sh", ["-e", "-c", script]);
}
