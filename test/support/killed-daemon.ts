/** A real daemon, killed with SIGKILL before its effects on files and kernel in turn, and the one after it. */

import { join } from "node:path";
import { beforeAll, expect, it, vi } from "vitest";
import { Daemon } from "../../agent/demo/daemon.ts";
import { type EtcdLab, type Host, onNode, useEtcdLab } from "./hosts.ts";
import type { TestNetns } from "./netns.ts";

const KILLER = join(import.meta.dirname, "kill-at-effect.cjs");

export interface KilledCase {
  /** `Backend` of the network configuration. */
  readonly backend: Readonly<Record<string, unknown>>;
  /** `BackendType` of a lease. */
  readonly leaseType: string;
  /** `BackendData` of the peer's lease, and its BackendV6Data; absent for none. */
  readonly data?: unknown;
  /** Default: both families. */
  readonly isIpv4Only?: true;
  /** A first start has at least so many effects; fewer would mean that they are not counted. */
  readonly minEffects: number;
}

const BOTH = { EnableIPv6: true, IPv6Network: "fd00:2::/48" };
/** A route or WireGuard peer for the last of the peers, or udp's route for all. */
const WAY_TO_PEERS = /10\.2\.(98\.0\/24|0\.0\/16)/;
/** Everything that a backend makes, so that each start has all of it to do. */
const RESET = [
  ...["flannel.1", "flannel-v6.1", "flannel.ipip", "flannel-wg", "flannel-wg-v6", "flannel0"].map(
    (device) => `ip link delete ${device}`,
  ),
  ...["-4", "-6"].map((family) => `ip ${family} route flush proto 116`),
  "ip route flush dev lo proto static",
];

/** The tests; every `step`-th effect is tried. */
export function comesBackWhenKilled(each: KilledCase, step: number): void {
  const families = each.isIpv4Only ? ([4] as const) : ([4, 6] as const);
  const net = useEtcdLab("killed", {
    hosts: 1,
    // The peers' leases lie beyond what the host may lease.
    config: {
      Network: "10.2.0.0/16",
      SubnetMax: "10.2.63.0",
      ...(each.isIpv4Only ? {} : BOTH),
      Backend: each.backend,
    },
    families,
  });
  let wanted: string;

  beforeAll(async () => {
    putPeers(net, each);
    const { daemon, netns } = net.host(1);
    await daemon.start(...net.flags);
    await daemon.until(({ kernel, peers }) => kernel.isConverged && peers.length === 2, "is at rest");
    // Commands of the extension backend run beside the reconciler.
    await vi.waitFor(() => expect(dataPath(netns)).toMatch(WAY_TO_PEERS), 20_000);
    wanted = dataPath(netns);
    await daemon.stop();
  });

  it("is followed by one that gets to the same place", async () => {
    const host = net.host(1);
    let effect = 1;
    for (let wasKilled = true; wasKilled; effect += step) {
      host.netns.exec("sh", ["-c", `{ ${RESET.join("; ")}; } 2>/dev/null || true`]);
      wasKilled = await startDoomed(host, effect, net.flags);
      await host.daemon.start(...net.flags);
      await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
      await expect
        .poll(() => dataPath(host.netns), { timeout: 20_000, message: `killed before effect ${effect}` })
        .toBe(wanted);
      await host.daemon.stop();
    }
    expect(effect).toBeGreaterThan(each.minEffects);
  }, 600_000);
}

function putPeers(net: EtcdLab, { leaseType, data, isIpv4Only }: KilledCase): void {
  for (const n of [97, 98]) {
    const own = JSON.stringify(data)?.replaceAll("NN", String(n));
    const value = {
      PublicIP: `192.168.50.${n}`,
      ...(isIpv4Only ? {} : { PublicIPv6: `fd00:50::${n}` }),
      ...(leaseType === "" ? {} : { BackendType: leaseType }),
      ...(own === undefined ? {} : { BackendData: JSON.parse(own) }),
      ...(own === undefined || isIpv4Only ? {} : { BackendV6Data: JSON.parse(own) }),
    };
    net.put(`subnets/10.2.${n}.0-24${isIpv4Only ? "" : `&fd00:2:0:${n}::-64`}`, JSON.stringify(value));
  }
}

/** What the kernel has but for the host's own interfaces, without indexes and what differs between two starts. */
function dataPath(netns: TestNetns): string {
  const commands = [
    "ip -d link show",
    "ip -o address show scope global",
    "ip route show",
    "ip -6 route show",
    "ip neighbour show nud permanent",
    "bridge fdb show",
    "wg show all dump 2>/dev/null | cut -f 1-5",
  ];
  return commands.map((command) => normalise(netns.exec("sh", ["-c", `${command} || true`]))).join("\n");
}

function normalise(text: string): string {
  const lines = text.split("\n").map((line) => line.replace(/^\d+: /, "").trim());
  return lines
    .filter((line) => line !== "" && !line.includes("fe80:"))
    .sort()
    .join("\n");
}

/** Returns whether it was killed; it was not when it had fewer effects until it was ready, and is stopped then. */
async function startDoomed(host: Host, effect: number, flags: readonly string[]): Promise<boolean> {
  const doomed = new Daemon({
    command: host.enter(
      ...["env", `NODE_OPTIONS=--require=${KILLER}`, `TULLE_KILL_AT=${effect}`],
      ...["setpriv", "--pdeathsig", "KILL", ...onNode("tulled")],
      `--state-dir=${host.stateDirectory}`,
    ),
    runDirectory: host.runDirectory,
    logFile: join(host.runDirectory, "doomed.log"),
  });
  doomed.spawn(...flags);
  const ended = doomed.ended().then((code) => {
    if (code !== null) throw new Error(`it ended by itself: ${doomed.log.slice(-1000)}`);
    return true;
  });
  const ready = doomed.until(({ isReady }) => isReady, "is ready").then(() => false);
  const wasKilled = await Promise.race([ended, ready.catch(() => ended)]);
  if (!wasKilled) await doomed.stop();
  await ended.catch(() => undefined);
  return wasKilled;
}
