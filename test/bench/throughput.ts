/**
 * What the overlay costs: containers on two hosts over our tunnel, against a VXLAN made by hand with flannel's
 * rules beside it, in alternation. Needs iperf3.
 */

import { type Lab, ping } from "../support/hosts.ts";
import {
  measurePackets,
  measureTcpMbits,
  type Overlay,
  overlayByHand,
  overlayByTulled,
  SMALL_BYTES,
} from "./support/overlays.ts";
import { type Bench, quantile } from "./support/report.ts";

interface Figures {
  readonly tcpMbits: number[];
  /** The median of each round. */
  readonly roundTripMs: number[];
  readonly packetsPerSecond: number[];
}

export const bench: Bench = async (report, { isQuick }) => {
  const [rounds, seconds] = isQuick ? [1, 1] : [25, 1];
  const labs: Lab[] = [];
  try {
    const ours = await overlayByTulled(labs);
    const byHand = overlayByHand(labs);
    const [our, their] = [newFigures(), newFigures()];
    for (let round = 0; round < rounds; round++) {
      await measure(ours, seconds, our);
      await measure(byHand, seconds, their);
    }
    for (const [name, { tcpMbits, roundTripMs, packetsPerSecond }] of [
      ["tulled", our],
      ["by hand, with flannel's rules", their],
    ] as const) {
      report.figure({ name: `${name}: TCP between containers`, unit: "Mbit/s", values: tcpMbits });
      report.figure({ name: `${name}: round trip`, unit: "ms", values: roundTripMs });
      report.figure({
        name: `${name}: UDP of ${SMALL_BYTES} bytes, received`,
        unit: "packets/s",
        values: packetsPerSecond,
      });
    }
    const ratio = (what: keyof Figures): number[] =>
      our[what].map((value, round) => value / (their[what][round] ?? Number.NaN));
    report.figure({ name: "tulled / by hand, of each round: TCP", unit: "", values: ratio("tcpMbits") });
    report.figure({
      name: "tulled / by hand, of each round: round trip",
      unit: "",
      values: ratio("roundTripMs"),
    });
    report.figure({
      name: "tulled / by hand, of each round: packets",
      unit: "",
      values: ratio("packetsPerSecond"),
    });
  } finally {
    for (const lab of labs) lab.dispose();
  }
};

function newFigures(): Figures {
  return { tcpMbits: [], roundTripMs: [], packetsPerSecond: [] };
}

async function measure(overlay: Overlay, seconds: number, figures: Figures): Promise<void> {
  figures.tcpMbits.push(await measureTcpMbits(overlay, seconds));
  figures.packetsPerSecond.push(await measurePackets(overlay, seconds));
  const { roundTripMs } = await ping(overlay.from.netns, overlay.to.address, 100);
  figures.roundTripMs.push(quantile(roundTripMs, 0.5));
}
