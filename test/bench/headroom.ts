/**
 * Whether the kernel could carry more between containers than with flannel's way of setting it up: one change at a
 * time to an overlay made by hand, each measurement beside one without it. Needs iperf3; ethtool for two of them.
 */

import { errorMessage } from "../../ipam/errors.ts";
import type { Lab } from "../support/hosts.ts";
import {
  measurePackets,
  measureTcpMbits,
  type Overlay,
  overlayByHand,
  SMALL_BYTES,
} from "./support/overlays.ts";
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
    undo: "iptables -t raw -F",
  },
  {
    name: "NOTRACK between containers",
    apply: `rule="-s 10.2.0.0/16 -d 10.2.0.0/16 -j CT --notrack"; ${NOTRACK}`,
    undo: "iptables -t raw -F",
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
    name: "no rules of flannel's",
    apply: "iptables -D FORWARD -j FLANNEL-FWD; iptables -t nat -D POSTROUTING -j FLANNEL-POSTRTG",
    undo: "iptables -A FORWARD -j FLANNEL-FWD; iptables -t nat -A POSTROUTING -j FLANNEL-POSTRTG",
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
  const [rounds, seconds] = isQuick ? [1, 1] : [15, 1];
  const labs: Lab[] = [];
  try {
    const usual = overlayByHand(labs);
    const withoutChecksum = overlayByHand(labs, "noudpcsum");
    const tell = (name: string, [tcp, packets]: Ratios): void => {
      report.figure({ name: `${name}: TCP, times the usual`, unit: "", values: tcp });
      report.figure({
        name: `${name}: UDP of ${SMALL_BYTES} bytes, times the usual`,
        unit: "",
        values: packets,
      });
    };
    for (const change of CHANGES) {
      const obstacle = obstacleTo(change, usual);
      if (obstacle !== null) {
        report.note(`${change.name}: not measured, ${obstacle}`);
        continue;
      }
      const changed = async (): Promise<Rates> => {
        onBothHosts(usual, change.apply);
        try {
          return await rates(usual, seconds);
        } finally {
          onBothHosts(usual, change.undo);
        }
      };
      tell(change.name, await ratios(rounds, () => rates(usual, seconds), changed));
    }
    tell(
      "no checksum outside the tunnel's packets",
      await ratios(
        rounds,
        () => rates(usual, seconds),
        () => rates(withoutChecksum, seconds),
      ),
    );
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

type Rates = readonly [tcpMbits: number, packetsPerSecond: number];
type Ratios = readonly [tcp: number[], packets: number[]];

async function rates(overlay: Overlay, seconds: number): Promise<Rates> {
  return [await measureTcpMbits(overlay, seconds), await measurePackets(overlay, seconds)];
}

async function ratios(
  rounds: number,
  before: () => Promise<Rates>,
  after: () => Promise<Rates>,
): Promise<Ratios> {
  const found: Ratios = [[], []];
  for (let round = 0; round < rounds; round++) {
    const [beforeTcp, beforePackets] = await before();
    const [afterTcp, afterPackets] = await after();
    found[0].push(afterTcp / beforeTcp);
    found[1].push(afterPackets / beforePackets);
  }
  return found;
}

function onBothHosts({ lab }: Overlay, script: string): void {
  for (const { netns } of lab.hosts) netns.exec("sh", ["-e", "-c", script]);
}
