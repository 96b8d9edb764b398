/** How often a store that does not serve is asked, and what ends it. */

import { expect, it } from "vitest";
import { untilServed } from "../../../../ipam/stores/return-check.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

it("asks every second until it is answered", async () => {
  const clock = new FakeClock();
  const startMs = clock.monotonicMs();
  const askedMs: number[] = [];
  const ask = async () => {
    askedMs.push(clock.monotonicMs() - startMs);
    if (askedMs.length < 3) throw new Error("no leader");
  };
  let isServed = false;
  const done = untilServed(ask, { clock, random: () => 1 }, new AbortController().signal).then(() => {
    isServed = true;
  });
  await clock.advance(2_900);
  expect(askedMs).toEqual([1_000, 2_000]);
  expect(isServed).toBe(false);
  await clock.advance(200);
  await done;
  expect(askedMs).toEqual([1_000, 2_000, 3_000]);
});

it.each([
  ["asleep", 500],
  ["waiting for an answer", 1_500],
])("ends with its signal while it is %s", async (_, afterMs) => {
  const clock = new FakeClock();
  const stop = new AbortController();
  const ask = (signal: AbortSignal) =>
    new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const done = untilServed(ask, { clock, random: () => 1 }, stop.signal);
  const ended = expect(done).rejects.toThrow("enough");
  await clock.advance(afterMs);
  stop.abort(new Error("enough"));
  await ended;
});
