/** A peer that this host sends packets to all the time. */

import { afterEach, expect, it } from "vitest";
import { LossyNetwork } from "./lossy-network.ts";
import { TARGET } from "./target-fixture.ts";

/** Round trips longer than the wait for an answer of a path that is known to be quick. */
const SLOW_MS = 600;

let network: LossyNetwork;
afterEach(() => network.stop());

for (const phaseMs of [0, 250, 500, 750, 1_000, 1_250, 1_500, 1_750, 2_000])
  it(`has its silence named within 3.5 seconds, which begins ${phaseMs} ms after a look`, async () => {
    network = new LossyNetwork(1);
    network.use();
    await network.pass(20 + phaseMs / 1_000);
    expect(network.health.state).toBe("good");
    network.silent = TARGET.inner;
    await network.pass(3.5);
    expect(network.health.cause?.code).toBe("tunnel-filtered");
  });

it("is probed every second, and examined no more often for long round trips", async () => {
  network = new LossyNetwork(1);
  network.delayMs = SLOW_MS;
  await network.pass(20);
  network.use();
  await network.pass(10);
  const before = network.sentMs.length;
  await network.pass(60);
  const sent = network.sentMs.length - before;
  expect(sent).toBeGreaterThanOrEqual(45);
  expect(sent).toBeLessThanOrEqual(75);
});

it("is looked after once a late answer has come in the middle of an examination", async () => {
  network = new LossyNetwork(1);
  network.silent = TARGET.outer;
  network.use();
  await network.pass(20);
  network.delayMs = 450;
  await network.pass(3);
  network.delayMs = 0;
  await network.pass(10);
  expect(network.health.state).toBe("good");
  network.percent = 100;
  await network.pass(30);
  expect(network.health.state).toBe("bad");
});

it("is examined once for a packet that is lost", async () => {
  network = new LossyNetwork(1);
  network.use();
  await network.pass(20);
  const sentIn = async (seconds: number): Promise<number> => {
    const before = network.sentMs.length;
    await network.pass(seconds);
    return network.sentMs.length - before;
  };
  const usual = await sentIn(6);
  const next = network.sentMs.length;
  network.percent = 100;
  while (network.sentMs.length === next) await network.pass(0.05);
  network.percent = 0;
  expect(network.health.state).toBe("good");
  const more = (await sentIn(6)) - usual;
  expect(more).toBeLessThanOrEqual(3);
});
