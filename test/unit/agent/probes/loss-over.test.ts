/** A prober whose packets are lost for a while: how long the loss is named, and that it stays so. */

import { expect, it } from "vitest";
import { LossyNetwork } from "./lossy-network.ts";

const SEEDS = [1, 2, 3, 4, 5, 6];

it.each([20, 40, 60])(
  "names %i percent as long as they are lost, and not for long after",
  { timeout: 60_000 },
  async (percent) => {
    const after: number[] = [];
    let early = 0;
    for (const seed of SEEDS) {
      const network = new LossyNetwork(seed);
      await network.pass(20);
      network.percent = percent;
      expect(await network.secondsUntil(true, 300)).toBeLessThan(300);
      await network.pass(180);
      early += network.changes.filter(
        (state, at) => state === "good" && network.changes[at - 1] === "packets-lost",
      ).length;
      await network.secondsUntil(true, 300);
      network.percent = 0;
      after.push(await network.secondsUntil(false, 300));
      network.stop();
    }
    expect(Math.max(...after)).toBeLessThanOrEqual(30);
    // Once in a while chance looks like an end.
    expect(early).toBeLessThanOrEqual(2);
  },
);

it.each([60, 70, 80])("keeps its name while %i percent are lost", { timeout: 60_000 }, async (percent) => {
  const other: string[] = [];
  for (const seed of SEEDS) {
    const network = new LossyNetwork(seed);
    await network.pass(20);
    network.percent = percent;
    expect(await network.secondsUntil(true, 300)).toBeLessThan(120);
    network.changes.length = 0;
    await network.pass(600);
    other.push(...network.changes.filter((state) => state !== "packets-lost"));
    network.stop();
  }
  // One hour of it in all.
  expect(other.length).toBeLessThanOrEqual(3);
});

it("is called by another name where nothing passes any more", { timeout: 60_000 }, async () => {
  for (const seed of SEEDS) {
    const network = new LossyNetwork(seed);
    await network.pass(20);
    network.percent = 60;
    await network.secondsUntil(true, 300);
    network.percent = 100;
    expect(await network.secondsUntil(false, 300)).toBeLessThan(60);
    expect(network.health.cause?.code).toBe("host-unreachable");
    network.stop();
  }
});
