/**
 * Which TCP segments of a peer show that its connections go on. Pure.
 *
 * A segment that acknowledges something may be a retransmission, which a peer sends because nothing from here arrives. What
 * acknowledges more than before, or is new data, which the window admits only after acknowledgements, is none (RFC 9293
 * section 3.8).
 */

import type { InnerPacket, Segment } from "../../backends/probe/tunnel-packet.ts";

/** Connections to remember for one peer. */
const MOST_STREAMS = 256;
const HALF = 0x80000000;

export class StreamProgress {
  /** By both ends. */
  readonly #streams = new Map<string, Pick<Segment, "sequence" | "acknowledged">>();

  /** Whether this segment has come further than all before of its connection; of the first one that is not known. */
  isNew({ source, destination }: InnerPacket, segment: Segment): boolean {
    const { sourcePort, destinationPort, sequence, acknowledged } = segment;
    const key = `${source} ${sourcePort} ${destination} ${destinationPort}`;
    const before = this.#streams.get(key);
    if (before === undefined) {
      if (this.#streams.size < MOST_STREAMS) this.#streams.set(key, { sequence, acknowledged });
      return false;
    }
    const latest = {
      sequence: later(before.sequence, sequence),
      acknowledged: later(before.acknowledged, acknowledged),
    };
    this.#streams.set(key, latest);
    return latest.sequence !== before.sequence || latest.acknowledged !== before.acknowledged;
  }
}

/** Of two numbers that begin again at 0 (RFC 9293 section 3.4). */
function later(left: number, right: number): number {
  return (right - left) >>> 0 < HALF ? right : left;
}
