import { expect, it } from "vitest";
import { StreamProgress } from "../../../../agent/probes/stream-progress.ts";
import type { Segment } from "../../../../backends/probe/tunnel-packet.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const INNER = {
  source: Address.parse("10.2.54.7"),
  destination: Address.parse("10.2.16.9"),
  isEchoReply: false,
  segment: null,
};
const SEGMENT: Segment = {
  ...{ sourcePort: 80, destinationPort: 40_000 },
  ...{ sequence: 1_000, acknowledged: 500, isReset: false },
};

function progress(...segments: readonly Partial<Segment>[]): readonly boolean[] {
  const streams = new StreamProgress();
  return segments.map((segment) => streams.isNew(INNER, { ...SEGMENT, ...segment }));
}

it("takes no retransmission for progress", () => {
  expect(progress({}, {}, { sequence: 900 }, {})).toEqual([false, false, false, false]);
});

it("takes new data and new acknowledgements for progress, over the end of the numbers too", () => {
  expect(progress({}, { sequence: 1_100 }, { acknowledged: 600 })).toEqual([false, true, true]);
  expect(progress({ sequence: 0xfffffff0 }, { sequence: 16 })).toEqual([false, true]);
});

it("keeps connections apart", () => {
  expect(progress({}, { sourcePort: 81, sequence: 2_000 })).toEqual([false, false]);
});
