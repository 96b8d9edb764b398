import { expect, it } from "vitest";
import { TunnelWatch } from "../../../../agent/probes/tunnel-watch.ts";
import { TARGET } from "./target-fixture.ts";

it("lets targets without a place wait, and ends the turn of the first", () => {
  let nowMs = 0;
  const watch = new TunnelWatch({ now: () => nowMs, interfaceOf: () => null, sourceOf: () => null });
  const targets = Array.from({ length: 17 }, (_, index) => ({ ...TARGET, id: `peer ${index}` }));
  const [first = TARGET] = targets;
  const last = targets.at(-1) ?? TARGET;
  for (const target of targets) watch.begin(target);
  expect([watch.isWaiting(first), watch.isWaiting(last)]).toEqual([false, true]);
  nowMs += 13_000;
  watch.renew(last);
  expect([watch.isWaiting(first), watch.isWaiting(last)]).toEqual([true, false]);
  expect(watch.isWaiting({ ...TARGET, tunnelKind: null })).toBe(false);
});

it("shows nothing where it cannot look", () => {
  const watch = new TunnelWatch({ now: () => 0, interfaceOf: () => null, sourceOf: () => null });
  watch.begin(TARGET);
  expect(watch.evidence(TARGET)).toBeNull();
});
