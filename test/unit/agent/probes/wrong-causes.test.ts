/** Loss and delay are named as such, and as nothing else, however chance falls. */

import { expect, it } from "vitest";
import { LossyNetwork } from "./lossy-network.ts";

const SEEDS = Array.from({ length: 30 }, (_, index) => index + 1);

/** A share near the limit of what is named comes and goes: once in some minutes. */
it.each([
  [10, 2 * SEEDS.length],
  [30, SEEDS.length / 2],
  [40, SEEDS.length / 2],
])(
  "names nothing but loss where %i percent of all packets are lost",
  { timeout: 120_000 },
  async (percent, mostRelapses) => {
    const seen = new Set<string>();
    let relapses = 0;
    for (const seed of SEEDS) {
      const network = new LossyNetwork(seed);
      await network.pass(20);
      network.percent = percent;
      await network.pass(600);
      network.stop();
      for (const state of network.changes) seen.add(state);
      relapses += network.changes.filter((state) => state === "good").length;
    }
    expect([...seen].filter((state) => state !== "good")).toEqual(["packets-lost"]);
    expect(relapses).toBeLessThanOrEqual(mostRelapses);
  },
);

it("does not call a limit for pings loss while connections get through", { timeout: 60_000 }, async () => {
  for (const seed of SEEDS.slice(0, 10)) {
    const network = new LossyNetwork(seed);
    await network.pass(20);
    network.pingPercent = 60;
    await network.pass(600);
    network.stop();
    expect(network.changes).toEqual([]);
  }
});

it.each([1_100, 2_000, 4_000])(
  "names answers that come after %i ms, and sees that they no longer do",
  async (delayMs) => {
    const network = new LossyNetwork(1);
    await network.pass(20);
    network.delayMs = delayMs;
    await network.pass(60);
    expect(network.health.cause).toMatchObject({
      code: "answers-late",
      text: `answers through the tunnel only after ${(delayMs / 1000).toFixed(1)} s`,
    });
    network.delayMs = 0;
    await network.pass(15);
    expect(network.health.state).toBe("good");
    network.stop();
  },
);
