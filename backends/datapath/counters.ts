/** What the data path counts, shared between its thread and the daemon's. One thread writes, any may read. */

export const COUNTERS = [
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
  /** The kernel did not take it, by a full queue, a filter or a missing route. */
  "dropped",
] as const;

const INDEX = Object.fromEntries(COUNTERS.map((counter, index) => [counter, index])) as Record<
  Counter,
  number
>;

export type Counter = (typeof COUNTERS)[number];
export type Counts = Readonly<Record<Counter, number>>;

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
