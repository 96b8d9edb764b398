import { describe, expect, it } from "vitest";
import type { ProbeTarget } from "../../../../agent/probes/probe.ts";
import { UsageTracker } from "../../../../agent/probes/usage.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const PEER = { id: "peer", outer: Address.parse("192.168.1.242") } as ProbeTarget;
const NEVER = Number.NEGATIVE_INFINITY;

/** Whether the peer counts as in use after each of the samples, taken at 1, 2, 3 … seconds. */
function run(usedMs: readonly number[], probedMs: readonly number[] = []): readonly boolean[] {
  const tracker = new UsageTracker();
  return usedMs.map((used, index) => {
    const uses = new Map([[PEER.outer.toString(), used]]);
    return tracker.sample([PEER], uses, () => probedMs[index] ?? NEVER, (index + 1) * 1000).has(PEER.id);
  });
}

describe("peers in use", () => {
  it("are those that every sample shows anew", () => {
    expect(run([900, 1_900, 2_900, 3_900])).toEqual([false, false, true, true]);
  });

  it("are not those that were used now and then, or once", () => {
    expect(run([900, 900, 2_900, 2_900, 4_900, 4_900])).toEqual(Array(6).fill(false));
    expect(run([900, 900, 900, 900])).toEqual(Array(4).fill(false));
  });

  it("are not those that only our own probes used", () => {
    expect(run([900, 1_900, 2_900, 3_900], [900, 1_850, 2_900, 3_900])).toEqual(Array(4).fill(false));
  });

  it("are none without entries", () => {
    expect(new UsageTracker().sample([PEER], new Map(), () => NEVER, 1_000).size).toBe(0);
  });
});
