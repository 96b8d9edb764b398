import { expect, it } from "vitest";
import { LossMeter } from "../../../../agent/probes/loss-meter.ts";

/** A letter for each packet: x is lost. */
function meter(packets: string): LossMeter {
  const loss = new LossMeter();
  for (const packet of packets) loss.note(packet === "x");
  return loss;
}

it("knows no share of a few packets, and one of many", () => {
  expect(meter("..x").share).toBeNull();
  expect(meter("..x").isSuspect).toBe(true);
  expect(meter(".........x..........").share).toBe(0.05);
});

it("calls loss bad that comes again and again", () => {
  expect(meter("..x.x..xx...x...").isBad).toBe(true);
  expect(meter("..x.....................").isBad).toBe(false);
});

it("does not take an outage, or two, for loss", () => {
  expect(meter(`......${"x".repeat(30)}......`).isBad).toBe(false);
  expect(meter("....xxxxxxx...xxxxxxx....").isBad).toBe(false);
});

it("forgets what was long ago", () => {
  expect(meter(`x.x.x.x.${".".repeat(40)}`).share).toBe(0);
});
