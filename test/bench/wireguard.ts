/**
 * What WireGuard by tulled costs beside WireGuard by hand, alternating: containers on two hosts, with iperf3. This machine's
 * kernel may have no WireGuard; the guest's has:
 *
 *     node deploy/verify/guest/main.mjs -- npm run bench -- wireguard
 */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { EOPNOTSUPP, NetlinkError } from "../../backends/netlink/errors.ts";
import { encodeWireguardProbe } from "../../backends/state/devices/wireguard.ts";
import { type Lab, ping } from "../support/hosts.ts";
import { measureTcpMbits, overlayOfType, wireguardByHand } from "./support/overlays.ts";
import { type Bench, quantile } from "./support/report.ts";

/**
 * The encryption of an unlimited stream occupies both processors of the guest, in the kernel, so that no program gets
 * any time.
 */
const WINDOW = ["-w", "64K"];

export const bench: Bench = async (report, { isQuick }) => {
  if (!hasWireguard()) {
    report.note("skipped: this kernel has no WireGuard; run it in the guest (see test/bench/wireguard.ts)");
    return;
  }
  const [rounds, seconds] = isQuick ? [1, 1] : [15, 2];
  const labs: Lab[] = [];
  try {
    const overlays = [await overlayOfType(labs, "wireguard"), wireguardByHand(labs)] as const;
    const tcpMbits: [number[], number[]] = [[], []];
    const roundTripMs: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const which of [0, 1] as const) {
        const { from, to } = overlays[which];
        tcpMbits[which].push(await measureTcpMbits(overlays[which], seconds, WINDOW));
        const answer = await ping(from.netns, to.address, 50);
        roundTripMs[which].push(quantile(answer.roundTripMs, 0.5));
      }
    }
    for (const [which, name] of ["tulled", "by hand"].entries()) {
      const label = `WireGuard, ${name}`;
      report.figure({
        name: `${label}: TCP between containers`,
        unit: "Mbit/s",
        values: tcpMbits[which] ?? [],
      });
      report.figure({ name: `${label}: round trip`, unit: "ms", values: roundTripMs[which] ?? [] });
    }
    const ratios = tcpMbits[0].map((value, round) => value / (tcpMbits[1][round] ?? Number.NaN));
    report.figure({ name: "WireGuard, tulled / by hand, of each round: TCP", unit: "", values: ratios });
  } finally {
    for (const lab of labs) lab.dispose();
  }
};

/** The probe changes nothing: it is rejected in any case. */
function hasWireguard(): boolean {
  const connection = NetlinkConnection.open();
  try {
    connection.request(encodeWireguardProbe());
    return true;
  } catch (error) {
    return !(error instanceof NetlinkError && error.errno === EOPNOTSUPP);
  } finally {
    connection.close();
  }
}
