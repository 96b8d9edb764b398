/** The clock that all processes of a machine share: what one leaves in a file store expires for the others too. */

import { readFileSync } from "node:fs";
import { expect, it, vi } from "vitest";
import { Backoff, pause, systemClock } from "../../../ipam/clock.ts";

const TOLERANCE_MS = 1_000;

it("counts from the start of the machine", () => {
  const uptimeMs = Number.parseFloat(readFileSync("/proc/uptime", "utf8")) * 1000;
  const behindMs = uptimeMs - systemClock.monotonicMs();
  expect(behindMs).toBeGreaterThan(-TOLERANCE_MS);
  // In Node it stands still while the machine is suspended, as CLOCK_MONOTONIC does.
  if (process.versions.bun !== undefined) expect(behindMs).toBeLessThan(TOLERANCE_MS);
});

it("ends a pause when its signal fires, without an error", async () => {
  const stop = new AbortController();
  const pausing = pause(systemClock, 60_000, stop.signal);
  stop.abort(new Error("stopped"));
  await expect(pausing).resolves.toBeUndefined();
  await expect(pause(systemClock, 60_000, stop.signal)).resolves.toBeUndefined();
});

it("does not wait for a time that has passed, of which runtimes warn on standard error", async () => {
  const timer = vi.spyOn(globalThis, "setTimeout");
  await systemClock.sleep(-42, new AbortController().signal);
  expect(timer.mock.calls.map(([, delayMs]) => delayMs)).toEqual([0]);
  timer.mockRestore();
});

it("waits as at first after what ran longer than the longest wait", () => {
  const backoff = new Backoff({ baseMs: 1_000, maxMs: 8_000, random: () => 1 });
  const waits = [0, 10, 20, 8_000, 0, 8_001, 0].map((ranMs) => backoff.nextAfterMs(ranMs));
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 1_000, 2_000]);
});
