/** What the data path counts, shared between its thread and the daemon's. One thread writes, any may read. */

import type { PathTraffic } from "../backend.ts";

const COUNTERS = [
  "sentPackets",
  "sentBytes",
  "receivedPackets",
  "receivedBytes",
  /** No peer has the destination. */
  "unreachable",
  /** The hop limit was reached. */
  "expired",
  /** No IP packet, or a cut one. */
  "malformed",
  /** From an address that no peer has. */
  "strangers",
  /** The inner source belongs to another host, or the inner destination is not here. */
  "forged",
  /** Congestion that its transport cannot be told of (RFC 6040 §4.2). */
  "congested",
  /** The kernel did not send it: a full queue, a filter, a missing route. */
  "sendErrors",
  /** The device did not take it: it is down. */
  "deliveryErrors",
  /** ICMP errors sent for packets without a peer, and for those without a hop left; limited in rate. */
  "icmpUnreachable",
  "icmpTimeExceeded",
] as const;

const INDEX = Object.fromEntries(COUNTERS.map((counter, index) => [counter, index])) as Record<
  Counter,
  number
>;

export type Counter = (typeof COUNTERS)[number];
export type Counts = Readonly<Record<Counter, number>>;

/** The counts in the form of status and metrics. */
export function trafficOf(counts: Counts): PathTraffic {
  return {
    sent: { packets: counts.sentPackets, bytes: counts.sentBytes },
    received: { packets: counts.receivedPackets, bytes: counts.receivedBytes },
    dropped: {
      unreachable: counts.unreachable,
      expired: counts.expired,
      malformed: counts.malformed,
      stranger: counts.strangers,
      forged: counts.forged,
      congestion: counts.congested,
      "send error": counts.sendErrors,
      "delivery error": counts.deliveryErrors,
    },
    icmpErrors: { unreachable: counts.icmpUnreachable, "time exceeded": counts.icmpTimeExceeded },
  };
}

export class Counters {
  readonly shared: SharedArrayBuffer;
  readonly #values: Float64Array;

  constructor(shared = new SharedArrayBuffer(COUNTERS.length * 8)) {
    this.shared = shared;
    this.#values = new Float64Array(shared);
  }

  add(counter: Counter, amount = 1): void {
    const index = INDEX[counter];
    this.#values[index] = (this.#values[index] ?? 0) + amount;
  }

  read(): Counts {
    return Object.fromEntries(
      COUNTERS.map((counter, index) => [counter, this.#values[index] ?? 0]),
    ) as Record<Counter, number>;
  }
}
