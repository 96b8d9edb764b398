/** Ages of WireGuard's handshakes, by a date that may be set. */

import { expect, it } from "vitest";
import { HandshakeAges } from "../../../../backends/kernel/handshake-ages.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

it("counts a handshake from when it was, or was first seen where the clock was set back", async () => {
  const clock = new FakeClock();
  let offsetMs = 1_000_000;
  const ages = new HandshakeAges(() => offsetMs + clock.monotonicMs(), clock);
  const last = Math.floor((offsetMs + clock.monotonicMs()) / 1000);
  const age = (lastHandshakeSeconds = last, publicKey = "one") =>
    ages.of({ publicKey, lastHandshakeSeconds });
  expect(age(0)).toBeNull();
  await clock.advance(60_000);
  expect(Math.round(age() ?? -1)).toBe(60);
  offsetMs -= 900_000;
  expect(age()).toBe(0);
  await clock.advance(181_000);
  expect(age()).toBe(181);
  expect(age(last, "two")).toBe(0);
  expect(age(last + 1)).toBe(0);
  offsetMs += 900_000;
  expect(Math.round(age() ?? -1)).toBe(241);
});
