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
  const outage = "x".repeat(12);
  expect(meter(`....${outage}....${outage}....${outage}....${outage}....`).lost).toBe(0);
  expect(meter(`..x.${outage}....`).lost).toBe(1);
});

it("forgets what was long ago", () => {
  expect(meter(`x.x.x.x.${".".repeat(40)}`).share).toBe(0);
});

it("takes a loss for ended after as many answers as its share hardly allows", () => {
  const often = "x.x.x.x.x.x.x.x.";
  expect(meter(`${often}${".".repeat(11)}`).hasEnded).toBe(false);
  expect(meter(`${often}${".".repeat(14)}`).hasEnded).toBe(true);
  const seldom = "x....x....x....x....";
  expect(meter(`${seldom}${".".repeat(14)}`).hasEnded).toBe(false);
  expect(meter("").hasEnded).toBe(false);
  expect(meter("....").hasEnded).toBe(false);
});

it("does not take it for ended again soon after", () => {
  const loss = meter("x.x.x.x.x.x.x.x.");
  loss.end();
  expect([loss.packets, loss.share]).toEqual([0, null]);
  const note = (packets: string): void => {
    for (const packet of packets) loss.note(packet === "x");
  };
  note(`x.x.x.x.x.x.x.x.${".".repeat(20)}`);
  expect(loss.hasEnded).toBe(false);
  note(".".repeat(300));
  note(`x.x.x.x.x.x.x.x.${".".repeat(20)}`);
  expect(loss.hasEnded).toBe(true);
});

it("keeps a loss bad that is close to the limit", () => {
  const loss = meter(`x..x..x..x..${".".repeat(26)}`);
  expect([loss.isBad, loss.isStillBad]).toEqual([false, true]);
  expect(meter(`x..x..${".".repeat(34)}`).isStillBad).toBe(false);
});
