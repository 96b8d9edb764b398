/**
 * The data path of the udp backend with a plain proxy at the other end, as a host with flannel has one, beside two plain
 * proxies and two data paths of ours, in alternation: one TCP stream, its retransmitted segments, and the round trip.
 */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PROGRAMS, ping } from "../support/hosts.ts";
import type { TestNetns } from "../support/netns.ts";
import { createLan, startUdpHost, type UdpHost } from "../support/udp-hosts.ts";
import { udpLease } from "../support/udp-lease.ts";
import { compilePlainProxy, type PlainProxy, startPlainHost } from "./support/plain-host.ts";
import type { Bench, Report } from "./support/report.ts";
import { measureStream } from "./support/stream.ts";

type End = "plain" | "tulle";
type Host = Pick<UdpHost, "container" | "dispose">;

/** Sender, receiver. */
const PAIRS = [
  ["plain", "plain"],
  ["tulle", "plain"],
  ["plain", "tulle"],
  ["tulle", "tulle"],
] as const satisfies readonly (readonly [End, End])[];

class Pair {
  readonly name: string;
  readonly #lan = createLan();
  readonly #hosts: Host[] = [];
  readonly #mbits: number[] = [];
  readonly #retransmitted: number[] = [];
  readonly #roundTripMs: number[] = [];

  constructor([sender, receiver]: readonly [End, End]) {
    this.name = `${sender} to ${receiver}`;
  }

  async start([sender, receiver]: readonly [End, End], program: URL, proxy: PlainProxy): Promise<void> {
    const ends = [sender, receiver];
    for (const [index, end] of ends.entries()) {
      const [number, peer] = [index + 1, 2 - index];
      const lease = udpLease(peer, { isTulle: ends[1 - index] === "tulle" });
      this.#hosts.push(
        end === "plain"
          ? await startPlainHost(this.#lan, number, peer, proxy)
          : await runningHost(startUdpHost(this.#lan, number, program, [lease])),
      );
    }
  }

  async measure(seconds: number, pings: number): Promise<void> {
    const [from, to] = this.#hosts.map(({ container }) => container) as [TestNetns, TestNetns];
    const before = retransmittedBy(from);
    this.#mbits.push(
      1000 * (await measureStream({ netns: from, address: "10.2.1.2" }, { netns: to }, seconds)),
    );
    this.#retransmitted.push(retransmittedBy(from) - before);
    const { roundTripMs } = await ping(from, "10.2.2.2", pings, { intervalMs: 2 });
    this.#roundTripMs.push(...roundTripMs);
  }

  report(report: Report): void {
    report.figure({ name: `${this.name}: one TCP stream`, unit: "Mbit/s", values: this.#mbits });
    report.figure({ name: `${this.name}: retransmitted`, unit: "packets", values: this.#retransmitted });
    report.figure({ name: `${this.name}: round trip`, unit: "ms", values: this.#roundTripMs });
  }

  async dispose(): Promise<void> {
    for (const host of this.#hosts) await host.dispose();
    this.#lan.dispose();
  }
}

export const bench: Bench = async (report, { isQuick }) => {
  const [rounds, seconds, pings] = isQuick ? [1, 1, 50] : [5, 3, 500];
  const proxy = compilePlainProxy();
  if (proxy === null) {
    report.note("left out: there is no C compiler (cc) for the plain proxy");
    return;
  }
  const program = pathToFileURL(join(PROGRAMS, "../lib/tulled-path.cjs"));
  const pairs: Pair[] = [];
  try {
    for (const ends of PAIRS) {
      const pair = new Pair(ends);
      pairs.push(pair);
      await pair.start(ends, program, proxy);
    }
    for (let round = 0; round < rounds; round++) for (const pair of pairs) await pair.measure(seconds, pings);
    for (const pair of pairs) pair.report(report);
  } finally {
    for (const pair of pairs) await pair.dispose();
    proxy.dispose();
  }
};

async function runningHost(host: UdpHost): Promise<UdpHost> {
  while (host.runner.problems.length > 0) await new Promise(setImmediate);
  return host;
}

/** Segments that TCP in the namespace has sent again (RetransSegs, RFC 4022). */
function retransmittedBy(netns: TestNetns): number {
  const [names = [], values = []] = netns
    .exec("cat", ["/proc/net/snmp"])
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("RetransSegs")]);
}
