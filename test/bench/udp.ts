/**
 * The udp backend beside a VXLAN made by hand, in alternation: one TCP stream between containers of two hosts, the round
 * trip, and tulled's memory under load. The same with interfaces that segment neither UDP nor tunnels, as many do not.
 * Then the round trip while the thread that started the data path is busy.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";
import { type Lab, PROGRAMS, ping } from "../support/hosts.ts";
import { createLan, startUdpHost, type UdpHost } from "../support/udp-hosts.ts";
import { udpLease } from "../support/udp-lease.ts";
import { type Overlay, overlayByHand, overlayOfType } from "./support/overlays.ts";
import { type Bench, quantile, type Report } from "./support/report.ts";
import { measureStream } from "./support/stream.ts";

/** How long the main thread computes, of each period. */
const BUSY_MS = 30;
const PERIOD_MS = 100;

/** Nearer a plain network card: the kernel cuts super-packets before the interface, and merges what it receives. */
const PLAIN_INTERFACE =
  "-K eth0 tx-udp-segmentation off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off gro on".split(
    " ",
  );

interface Rounds {
  readonly count: number;
  /** Of one stream. */
  readonly seconds: number;
  readonly pings: number;
}

interface Figures {
  readonly gbits: number[];
  readonly roundTripMs: number[];
}

export const bench: Bench = async (report, { isQuick }) => {
  const rounds: Rounds = isQuick
    ? { count: 1, seconds: 1, pings: 50 }
    : { count: 7, seconds: 3, pings: 1000 };
  const labs: Lab[] = [];
  try {
    const udp = await overlayOfType(labs, "udp", "--ip-masq");
    const vxlan = overlayByHand(labs);
    await compare(report, udp, vxlan, rounds, "");
    const memory = udp.lab.hosts.map(({ daemon }) => residentMib(daemon.pid ?? 0));
    report.figure({ name: "tulled with udp under load: peak resident memory", unit: "MiB", values: memory });
    for (const { netns } of labs.flatMap((lab) => lab.hosts)) netns.exec("ethtool", PLAIN_INTERFACE);
    await compare(report, udp, vxlan, rounds, ", interfaces without segmentation");
  } finally {
    for (const lab of labs) lab.dispose();
  }
  await measureBusy(report, rounds.pings);
};

async function compare(
  report: Report,
  udp: Overlay,
  vxlan: Overlay,
  { count, seconds, pings }: Rounds,
  label: string,
): Promise<void> {
  const [ours, byHand]: [Figures, Figures] = [newFigures(), newFigures()];
  for (let round = 0; round < count; round++) {
    await measure(udp, seconds, pings, ours);
    await measure(vxlan, seconds, pings, byHand);
  }
  tell(report, `udp${label}`, ours);
  tell(report, `VXLAN by hand${label}`, byHand);
  const ratios = ours.gbits.map((value, round) => value / (byHand.gbits[round] ?? Number.NaN));
  report.figure({ name: `udp / VXLAN${label}, of each round: one TCP stream`, unit: "", values: ratios });
}

function newFigures(): Figures {
  return { gbits: [], roundTripMs: [] };
}

async function measure(overlay: Overlay, seconds: number, pings: number, figures: Figures): Promise<void> {
  figures.gbits.push(await measureStream(overlay.from, overlay.to, seconds));
  const { roundTripMs } = await ping(overlay.from.netns, overlay.to.address, pings, { intervalMs: 2 });
  figures.roundTripMs.push(...roundTripMs);
}

function tell(report: Report, name: string, { gbits, roundTripMs }: Figures): void {
  const mbits = gbits.map((value) => value * 1000);
  report.figure({ name: `${name}: one TCP stream`, unit: "Mbit/s", values: mbits });
  report.figure({ name: `${name}: round trip`, unit: "ms", values: roundTripMs });
}

/** The peak since the process started. */
function residentMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) / 1024;
}

/** Both hosts' data paths are threads of this process, whose main thread is busy. */
async function measureBusy(report: Report, pings: number): Promise<void> {
  const program = pathToFileURL(join(PROGRAMS, "../lib/tulled-path.cjs"));
  const lan = createLan();
  const hosts: UdpHost[] = [];
  try {
    for (const number of [1, 2]) hosts.push(startUdpHost(lan, number, program, [udpLease(3 - number)]));
    const [one] = hosts as [UdpHost];
    while (hosts.some(({ runner }) => runner.problems.length > 0)) await new Promise(setImmediate);
    const busy = setInterval(() => {
      const end = performance.now() + BUSY_MS;
      while (performance.now() < end);
    }, PERIOD_MS);
    const { roundTripMs } = await ping(one.container, "10.2.2.2", pings, { intervalMs: 2 });
    clearInterval(busy);
    const name = `udp, main thread busy ${BUSY_MS} of ${PERIOD_MS} ms: round trip`;
    report.figure({ name, unit: "ms", values: roundTripMs });
    report.note(`p50 ${quantile(roundTripMs, 0.5)} ms, p99 ${quantile(roundTripMs, 0.99)} ms`);
  } finally {
    for (const host of hosts) await host.dispose();
    lan.dispose();
  }
}
